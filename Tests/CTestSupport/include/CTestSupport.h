// SPDX-License-Identifier: Apache-2.0
//
// What tests of live patching need and Swift cannot say: entries, threads in known states, forks,
// refused system calls, handlers.

#ifndef CTESTSUPPORT_H
#define CTESTSUPPORT_H

#include "callers.h"
#include "events.h"
#include "handlers.h"
#include "refusals.h"
#include "sabotage.h"
#include "standers.h"
#include "storm.h"
#include "threads.h"

#endif
