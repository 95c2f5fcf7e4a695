// SPDX-License-Identifier: Apache-2.0
//
// Foreign writers that change text, or its pages, in the middle of a transaction.

#ifndef CTS_SABOTAGE_H
#define CTS_SABOTAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "poke.h"

enum {
  CTS_REPLACE_PAGE = 1,   ///< map `page` shared and read-only from `file`, which has the same bytes
  CTS_UNMAP_PAGE = 2,     ///< unmap it
  CTS_CHANGE_BYTE = 3,    ///< store 0xcc to `alias`
  CTS_LOCK_PAGE = 4,      ///< make it unreadable
};

/// A verifier that passes each question on to `inner`, and does its `deed` at the address `when`.
typedef struct cts_saboteur {
  npc_verifier inner;
  void *inner_context;
  uint64_t when;
  int deed;
  uint64_t page;
  int file;
  int64_t offset;
  volatile uint8_t *alias;
  int calls;  ///< how often it was called
} cts_saboteur;

bool cts_sabotage(void *saboteur, uint8_t kind, uint8_t length, uint64_t target, uint64_t address,
                  const uint8_t *bytes);
static inline npc_verifier cts_sabotage_verifier(void) { return cts_sabotage; }

/// Replaces the page at `page` by shared memory with the same bytes, readable and executable, and
/// returns another, writable mapping of it; NULL with errno. munmap takes the latter away.
void *cts_share_page(uint64_t page);

/// To be used with a saboteur whose deed is CTS_LOCK_PAGE, and /proc/self/mem as the writer: each
/// load of the patcher from that page faults and is let through, until `*head` is `trigger`, when
/// the patcher reads back what it wrote: then `value` is stored to `*changed`. 0 or an errno.
int cts_change_at_read_back(uint8_t *head, uint8_t trigger, uint8_t *changed, uint8_t value);
/// What else is done at that moment.
void cts_at_read_back(void (*deed)(void));
/// Whether it came to that; forgets it.
bool cts_read_back_was_changed(void);

/// A thread that sleeps while the others are stopped, wakes once they are, and is then found between
/// two nops: behind the first byte of `run`, five nops at the start of a function of no effect.
///
/// To be used with a saboteur whose deed is CTS_LOCK_PAGE on that page: the patcher's second look,
/// made with the threads stopped, faults there, and that fault, before it is repaired, wakes the
/// sleeper. It walks once.
typedef struct cts_sleepwalker cts_sleepwalker;
/// `at_read_back`: what wakes it is the deed of cts_at_read_back instead.
cts_sleepwalker *cts_sleepwalker_start(uint64_t run, bool at_read_back);
/// Ends it; whether it walked.
bool cts_sleepwalker_stop(cts_sleepwalker *walker);

#endif
