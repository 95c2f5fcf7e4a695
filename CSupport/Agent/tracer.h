// SPDX-License-Identifier: Apache-2.0
//
// What a tracer is: a row of tracer_table.h.

#ifndef NAG_TRACER_H
#define NAG_TRACER_H

#include "shadow_stack.h"

/// What armed sites call, by how they were compiled: see stubs.h.
typedef struct nag_handlers {
  const char *entry, *mcount, *entry_only, *mcount_only;
} nag_handlers;

typedef struct nag_tracer {
  uint32_t number;              ///< NREC_TRACER_*: which tracer of the command line it is
  bool needs_rseq;              ///< it can run only where threads have an rseq area
  bool limits_calls;            ///< it serves configurations that limit calls one by one
  bool marks_calls;             ///< it serves configurations that record more of some functions' calls
  uint32_t chunk_kind;          ///< NREC_CHUNK_*: what its chunks hold
  size_t buffer_bytes;          ///< how much of a nag_buffer it uses
  nag_handlers handlers, filtered;  ///< `filtered`: the thread filter's entries for them
  int32_t graph_sites;          ///< mode of the handlers at sites of NREC_SITE_GRAPH; 0: these
  const char *return_handler;   ///< where trampolines jump to; NULL: it hooks no returns

  // Called with signals blocked. NULL: there is nothing to do then.
  /// A hooked frame ended without returning. `caller`: the frame outside; NULL: there is none.
  void (*dropped)(const nag_slot *slot, const nag_slot *caller);
  void (*unwound)(uint32_t count);        ///< `count` frames were dropped, one inside the other
  void (*switched)(nag_stack *to, uint64_t now);  ///< the thread goes on there from now on
  /// The `count` innermost frames, of which `slot` is the outermost, belong to another stack, of that
  /// number, which is suspended. `caller`: the frame outside; NULL: there is none.
  void (*split)(uint32_t count, uint32_t number, uint64_t now, const nag_slot *slot,
                const nag_slot *caller);
  void (*begin_chunk)(nag_buffer *buffer);  ///< before the first event of a chunk
  uint64_t (*finish)(nag_buffer *buffer);  ///< the thread ends; returns its calls so far
} nag_tracer;

enum {
  NAG_TRACER_NONE = 0,          ///< no NREC_TRACER_*
};

/// The row for a configuration.
const nag_tracer *nag_tracer_choose(const nrec_config *config);
/// The row that records nothing.
const nag_tracer *nag_tracer_off(void);
/// The row whose handlers the sites of graph functions have.
const nag_tracer *nag_tracer_at_graph_sites(const nag_tracer *tracer);

#endif
