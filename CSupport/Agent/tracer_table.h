// SPDX-License-Identifier: Apache-2.0
//
// The table of tracers, one row each, for C and for the assembly. Several files include this one,
// each after defining the macros of the rows in its own way: tracers.c (the table itself),
// handlers_in_c.S (the handlers of tracers in C) and thread_filter_entry.S (the entries that run
// before each handler when threads are chosen by name). So it has no include guard.
//
//   ASSEMBLED(mode, entry, mcount, entry_only, mcount_only, return, FIELDS)
//       The handlers are in assembly: what an armed site calls, by how it was compiled (stubs.h) and
//       whether its function's return may be hooked, and where hooked returns go. `return` is NULL
//       where the tracer hooks none.
//   IN_C(mode, enter, enter_only, FIELDS)
//       The handlers call C: `enter(function, location, registers)`, and `enter_only` for a function
//       whose return cannot be hooked; most use only the first two. handlers_in_c.S makes the handlers:
//       nag_MODE_entry and so on.
//   IN_C_RETURNING(mode, enter, enter_only, leave, FIELDS)
//       The same for a tracer that hooks returns: `leave(slot, location, registers)` returns where
//       to.
//
// FIELDS are those of nag_tracer (tracer.h): which tracer of the command line the row serves, under
// which conditions, what its chunks hold, and what is called when frames end without returning,
// when a chunk begins and when a thread ends. The first row that fits a configuration runs, so the
// fastest of several rows for one tracer comes first.
//
// To add a tracer: add a row here, and the declarations of the C functions that it names; a file
// with its C functions (or its assembly), which includes tracer.h; and its number in
// CRecordingABI.h, by which the recorder and the readers know it. Nothing else in the agent knows
// tracers by name: the files that call upwards (shadow.c, thread.c, event_chunks.c) call the
// functions of the current row, and only on slow paths.

#ifdef NAG_DECLARE_TRACERS
#undef NAG_DECLARE_TRACERS
void nag_event_unwound(uint32_t count);
void nag_event_switched(nag_stack *to, uint64_t now);
void nag_event_split(uint32_t count, uint32_t number, uint64_t now, const nag_slot *slot,
                     const nag_slot *caller);
void nag_profile_split(uint32_t count, uint32_t number, uint64_t now, const nag_slot *slot,
                       const nag_slot *caller);
void nag_limited_dropped(const nag_slot *slot, const nag_slot *caller);
void nag_profile_dropped(const nag_slot *slot, const nag_slot *caller);
void nag_profile_switched(nag_stack *to, uint64_t now);
void nag_function_begin_chunk(nag_buffer *buffer);
uint64_t nag_event_chunks_finish(nag_buffer *buffer);
uint64_t nag_callgraph_finish(nag_buffer *buffer);
uint64_t nag_profile_finish(nag_buffer *buffer);
uint64_t nag_hits_finish(nag_buffer *buffer);
#endif

// function_graph in its usual form.
ASSEMBLED(graph, nag_graph_entry, nag_graph_mcount, nag_graph_entry_only, nag_graph_entry_only,
          nag_graph_exit,
          .number = NREC_TRACER_GRAPH, .needs_rseq = true, .chunk_kind = NREC_CHUNK_EVENTS,
          .unwound = nag_event_unwound, .switched = nag_event_switched,
          .split = nag_event_split, .finish = nag_event_chunks_finish,
          .buffer_bytes = NAG_BUFFER_CALLERS)

// function_graph where threads have no rseq area: events are stored with signals blocked. Its
// handlers are also the slow path of the handlers above.
IN_C_RETURNING(slow_graph, nag_enter_graph, nag_enter_graph_only, nag_leave_graph,
               .number = NREC_TRACER_GRAPH, .chunk_kind = NREC_CHUNK_EVENTS,
               .unwound = nag_event_unwound, .switched = nag_event_switched,
          .split = nag_event_split, .finish = nag_event_chunks_finish,
               .buffer_bytes = NAG_BUFFER_CALLERS)

// function_graph where calls of some functions are timed, or recorded with arguments and results
// (marked_calls.c), and where threads have no rseq area. Their sites call the handlers of the row behind
// them.
ASSEMBLED(marked, nag_graph_entry, nag_graph_mcount, nag_graph_entry_only, nag_graph_entry_only,
          nag_marked_exit,
          .number = NREC_TRACER_GRAPH, .needs_rseq = true, .marks_calls = true,
          .graph_sites = NAG_MODE_marked_site, .chunk_kind = NREC_CHUNK_EVENTS,
          .unwound = nag_event_unwound, .switched = nag_event_switched,
          .split = nag_event_split, .finish = nag_event_chunks_finish,
          .buffer_bytes = NAG_BUFFER_CALLERS)
IN_C_RETURNING(slow_marked, nag_enter_graph, nag_enter_graph_only, nag_leave_marked,
               .number = NREC_TRACER_GRAPH, .marks_calls = true,
               .graph_sites = NAG_MODE_marked_site, .chunk_kind = NREC_CHUNK_EVENTS,
               .unwound = nag_event_unwound, .switched = nag_event_switched,
               .split = nag_event_split, .finish = nag_event_chunks_finish,
               .buffer_bytes = NAG_BUFFER_CALLERS)
IN_C(marked_site, nag_enter_marked, nag_enter_marked_only, .number = NAG_TRACER_NONE)

// function_graph with a maximum depth, a least duration, or windows that graph functions open.
IN_C_RETURNING(limited, nag_enter_limited, nag_enter_limited_only, nag_leave_limited,
               .number = NREC_TRACER_GRAPH, .limits_calls = true, .graph_sites = NAG_MODE_window,
               .chunk_kind = NREC_CHUNK_EVENTS, .dropped = nag_limited_dropped,
               .unwound = nag_event_unwound, .switched = nag_event_switched,
          .split = nag_event_split, .finish = nag_event_chunks_finish,
               .buffer_bytes = NAG_BUFFER_CALLERS)

// What the sites of graph functions call in the mode above. No configuration chooses this row.
IN_C(window, nag_enter_window, nag_enter_limited_only, .number = NAG_TRACER_NONE)

ASSEMBLED(function, nag_function_entry, nag_function_mcount, nag_function_entry,
          nag_function_mcount, NULL,
          .number = NREC_TRACER_FUNCTION, .needs_rseq = true, .chunk_kind = NREC_CHUNK_EVENTS,
          .begin_chunk = nag_function_begin_chunk, .finish = nag_event_chunks_finish,
          .buffer_bytes = sizeof(nag_buffer))

// function where threads have no rseq area, and the slow path of the handlers above.
IN_C(slow_function, nag_enter_function, nag_enter_function,
     .number = NREC_TRACER_FUNCTION, .chunk_kind = NREC_CHUNK_EVENTS,
     .begin_chunk = nag_function_begin_chunk, .finish = nag_event_chunks_finish,
     .buffer_bytes = sizeof(nag_buffer))

ASSEMBLED(callgraph, nag_callgraph_entry, nag_callgraph_mcount, nag_callgraph_entry,
          nag_callgraph_mcount, NULL,
          .number = NREC_TRACER_CALLGRAPH, .chunk_kind = NREC_CHUNK_CALL_TREE,
          .finish = nag_callgraph_finish, .buffer_bytes = NAG_BUFFER_CALLERS)

IN_C_RETURNING(profile, nag_enter_profile, nag_enter_profile_only, nag_leave_profile,
               .number = NREC_TRACER_PROFILE, .chunk_kind = NREC_CHUNK_PROFILE,
               .dropped = nag_profile_dropped, .switched = nag_profile_switched,
               .split = nag_profile_split,
               .finish = nag_profile_finish,
               .buffer_bytes = NAG_BUFFER_CALLERS)

ASSEMBLED(hits, nag_hits_entry, nag_hits_entry, nag_hits_entry, nag_hits_entry, NULL,
          .number = NREC_TRACER_HITS, .chunk_kind = NREC_CHUNK_HITS, .finish = nag_hits_finish,
          .buffer_bytes = NAG_BUFFER_CALLERS)

// What armed sites call after an anomaly. No configuration chooses this row.
ASSEMBLED(off, nag_off_entry, nag_off_entry, nag_off_entry, nag_off_entry, NULL,
          .number = NAG_TRACER_NONE)

#undef ASSEMBLED
#undef IN_C
#undef IN_C_RETURNING
