// SPDX-License-Identifier: Apache-2.0
//
// The destination of an entry stub that counts calls, and threads that call functions and check
// their results.

#ifndef CTS_CALLERS_H
#define CTS_CALLERS_H

#include <stddef.h>
#include <stdint.h>

/// The function that armed sites call. It counts, and changes no register.
void cts_count_entry(void);
static inline const void *cts_count_entry_address(void) { return (const void *)cts_count_entry; }
/// How often it was called, in all.
uint64_t cts_entries(void);

typedef struct cts_call {
  int (*function)(int);
  int argument, result;
} cts_call;

typedef struct cts_callers cts_callers;

/// Starts threads that make the calls over and over. On failure NULL, with errno.
cts_callers *cts_callers_start(const cts_call *calls, size_t count, int threads);
/// How many calls were made so far.
uint64_t cts_callers_count(const cts_callers *callers);
/// Ends the threads; returns how many results were wrong, and how many calls were made in all.
uint64_t cts_callers_stop(cts_callers *callers, uint64_t *made);

#endif
