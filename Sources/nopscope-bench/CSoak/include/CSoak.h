// SPDX-License-Identifier: Apache-2.0
//
// The parts of the soak in C: threads that call functions of libraries that are loaded and
// unloaded, entries that count, and disturbers (forks, a signal per millisecond). They are in C
// because Swift's runtime must not stop them, they must not allocate in a forked child, and they
// must be fast enough to expose races.

#ifndef CSOAK_H
#define CSOAK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#pragma clang assume_nonnull begin

enum { CSK_FUNCTIONS = 16, CSK_MOST_SLOTS = 16, CSK_MOST_WORKERS = 8 };

/// A place for one library after the other. Workers enter through its gate. A thread that closes
/// the gate waits until they have left.
typedef struct csk_slot csk_slot;

/// `CSK_MOST_SLOTS` of them, all closed once. NULL with errno.
csk_slot *_Nullable csk_slots(void);
csk_slot *csk_slot_at(csk_slot *slots, size_t index);

/// Closes the gate once more, and returns when no worker is inside.
void csk_close(csk_slot *slot);
/// Opens it once. Workers enter when it was opened as often as it was closed.
void csk_open(csk_slot *slot);

/// Call it while the gate is closed. Function i must return `argument * (i + 1) + number`.
void csk_fill(csk_slot *slot, void *_Nonnull const *_Nonnull functions, int number);

/// What the armed sites of function `index` call: it counts, and changes nothing but the flags.
const void *csk_entry(csk_slot *slot, size_t index);
/// How often it was called.
uint64_t csk_entries(const csk_slot *slot, size_t index);
/// How often workers called function `index`. Exact while the gate is closed.
uint64_t csk_calls(const csk_slot *slot, size_t index);

/// Starts threads that call functions of open slots, in an order given by `seed`. 0 or an errno.
int csk_workers_start(csk_slot *slots, size_t count, int workers, uint64_t seed);
void csk_workers_stop(void);

/// The errors that the workers and the disturbers found.
typedef struct csk_wrong {
  uint64_t results;            ///< calls that returned something else
  int slot, function, argument, found, expected;  ///< the last of them
  uint64_t children;           ///< forked children that did not end as they should
  int last_status;             ///< of the last of those
} csk_wrong;
csk_wrong csk_what_was_wrong(void);

typedef enum { CSK_FORK, CSK_RAW_FORK, CSK_VFORK, CSK_WAYS_TO_FORK } csk_way;

/// Forks a child while the other threads run, and waits for it. The child calls every function of
/// the slot (vfork: it execs at once). False: the slot was closed, and nothing was done.
bool csk_fork(csk_slot *slots, size_t slot, csk_way way);

/// Starts a SIGPROF per millisecond of CPU time. Its handler calls a function of an open slot.
int csk_profiling_start(csk_slot *slots, size_t count);
void csk_profiling_stop(void);
uint64_t csk_profiling_signals(void);

/// Loads `path` into a namespace of its own by dlmopen, calls function 1 there, and closes it. 0,
/// or what was wrong: 1 it did not load, 2 it has no such function, 3 it returned something else.
int csk_in_another_namespace(const char *path, int number);

/// Calls iconv and getpwnam, for which libc loads and unloads modules. False: that failed.
bool csk_let_libc_load(void);

#pragma clang assume_nonnull end

#endif
