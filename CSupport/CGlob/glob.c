// SPDX-License-Identifier: Apache-2.0
//
// All code is in the header. This file checks that the header compiles by itself.

#include "CGlob.h"
