// SPDX-License-Identifier: Apache-2.0
//
// The patch core: the code that runs while threads are stopped, under the loader's lock or in a
// signal handler. It is C and uses libc alone. After the set-up functions (marked so) have run, it
// does not allocate, does not log, and waits for no lock that a stopped thread may hold.
//
// Lock order: the loader's load lock (dlopen, dlclose), then the patch lock, then the loader's
// write lock (dl_iterate_phdr). A thread that holds the patch lock calls no dlopen, dlsym or
// dladdr.

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
#include "outside.h"
#include "poke.h"
#include "stop.h"

#endif
