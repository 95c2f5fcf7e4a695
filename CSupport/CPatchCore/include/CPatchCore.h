// SPDX-License-Identifier: Apache-2.0
//
// The patch core: what runs while threads are stopped, under the loader's lock or in a signal
// handler. C, libc alone. Nothing here allocates, logs or waits for a lock that a stopped thread
// may hold, after the set-up functions (marked so) have run.
//
// Lock order: the loader's load lock (dlopen, dlclose), then the patch lock, then the loader's
// write lock (dl_iterate_phdr). Who holds the patch lock calls no dlopen, dlsym or dladdr.

#ifndef CPATCHCORE_H
#define CPATCHCORE_H

#if !defined(__x86_64__) || !defined(__linux__)
#error "nopscope patches x86-64 machine code on Linux; this target is another architecture or system"
#endif

#include "faults.h"
#include "load_plans.h"
#include "loader.h"
#include "memory_reading.h"
#include "modules.h"
#include "near_memory.h"
#include "poke.h"
#include "stop.h"

#endif
