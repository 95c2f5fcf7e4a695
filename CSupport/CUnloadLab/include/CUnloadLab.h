// SPDX-License-Identifier: Apache-2.0
#ifndef CUNLOADLAB_H
#define CUNLOADLAB_H

#include "e1000e.h"
#include "e1000e_driver.h"
#include "probe.h"
#include "watch.h"

#endif
