// SPDX-License-Identifier: Apache-2.0
//
// What tests need and Swift cannot say: entries, threads in known states, forks, refused system
// calls, handlers, memory accesses of a known width, the agent's end of a socket.

#ifndef CTESTSUPPORT_H
#define CTESTSUPPORT_H

#include "accesses.h"
#include "callers.h"
#include "connecting.h"
#include "events.h"
#include "handlers.h"
#include "joining.h"
#include "moments.h"
#include "refusals.h"
#include "sabotage.h"
#include "standers.h"
#include "storm.h"
#include "threads.h"

#endif
