#include "CPatchCore.h"
