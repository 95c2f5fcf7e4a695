// SPDX-License-Identifier: Apache-2.0
//
// Threads that call functions with known results, as fast as they can, while their text is patched.

#ifndef NUL_WORKERS_H
#define NUL_WORKERS_H

#include <stddef.h>
#include <stdint.h>

/// `function(argument)` has to return `result`.
typedef struct nul_call {
  int (*function)(int argument);
  int argument, result;
} nul_call;

typedef struct nul_workers nul_workers;

/// Starts `threads` threads, each of which calls all of `calls` in turn, over and over; `calls`
/// is copied. NULL with errno.
nul_workers *nul_workers_start(const nul_call *calls, size_t count, int threads);
/// Calls made so far, and calls that returned something else.
void nul_workers_count(const nul_workers *workers, uint64_t *calls, uint64_t *wrong);
/// Ends and frees them, with the final counts.
void nul_workers_stop(nul_workers *workers, uint64_t *calls, uint64_t *wrong);

/// What an armed site calls in the scenes and the tests: counts, and changes no register.
extern const char nul_count_entry[];
static inline const void *nul_count_entry_address(void) { return nul_count_entry; }
/// How often it was called.
uint64_t nul_entries(void);

/// The specimen's empty function, compiled without -pg, for comparison.
void nul_plain_function(void);

#endif
