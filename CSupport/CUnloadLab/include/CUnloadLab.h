// SPDX-License-Identifier: Apache-2.0
#ifndef CUNLOADLAB_H
#define CUNLOADLAB_H

#include "daemon.h"
#include "e1000e.h"
#include "e1000e_driver.h"
#include "experiments.h"
#include "image.h"
#include "placement.h"
#include "watch.h"
#include "workers.h"

#endif
