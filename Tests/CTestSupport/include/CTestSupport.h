// SPDX-License-Identifier: Apache-2.0
//
// The parts of live-patching tests that Swift cannot express: entries of stubs, threads in known
// states, forks, refused system calls, signal handlers.

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
