#include "CInstructionKinds.h"
