// SPDX-License-Identifier: Apache-2.0
//
// The table of loaded modules. modules.c keeps it; modules_end.c ends it.

#ifndef NAG_KNOWN_MODULES_H
#define NAG_KNOWN_MODULES_H

#include "agent.h"
#include "syscalls.h"

typedef struct known_module {
  uint64_t load_bias, span_start, span_end;
  uint64_t headers;      ///< where its program headers are
  uint64_t build;        ///< a hash of its build-id
  uint32_t generation;   ///< 0: it is over, and only its stubs are still there
  bool seen;
  bool is_overlaid;      ///< another module has replaced it without an announcement
  uint64_t mark;         ///< address of the first armed site; 0: there is none
  uint8_t marked[8];     ///< the bytes there, `mark_length` of them
  uint8_t mark_length;
  uint8_t *stubs;        ///< what its sites call; NULL: no site is armed
  size_t stub_bytes;
  npc_module module;     ///< where its sites have been changed
  nrec_plan_entry *plan;  ///< what they were; NULL: none has been changed
  uint32_t plan_count;
} known_module;

extern known_module *known;     ///< a fork copies it as it is
extern uint32_t known_count;

static inline void nag_known_drop_plan(known_module *one) {
  if (one->plan != NULL)
    nag_unmap(one->plan, nag_whole_pages((size_t)one->plan_count * sizeof *one->plan));
  one->plan = NULL;
}

#endif
