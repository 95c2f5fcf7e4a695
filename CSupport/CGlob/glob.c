// SPDX-License-Identifier: Apache-2.0
//
// The header is all of it: this file checks that it stands alone.

#include "CGlob.h"
