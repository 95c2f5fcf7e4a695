#include "CUnloadLab.h"
