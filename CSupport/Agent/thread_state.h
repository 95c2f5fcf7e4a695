// SPDX-License-Identifier: Apache-2.0
//
// What the agent keeps of one thread:
//
//   nag_self     a thread variable; a fork copies it together with the stack that it describes
//   nag_buffer   events and counters, in pages that a forked child finds wiped
//   nag_slot     one hooked return: an entry of the thread's shadow stack

#ifndef NAG_THREAD_STATE_H
#define NAG_THREAD_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "CRecordingABI.h"
#include "offsets.h"

/// One hooked return. 32 bytes.
typedef struct nag_slot {
  uint64_t return_address;
  uint64_t stack;          ///< where the return address was on the stack, with marks in the low
                           ///< bits (shadow.c); or NAG_STACK_*
  uint64_t time;           ///< of the entry, for tracers that need it
  uint32_t function;
  uint32_t extra;          ///< for tracers that need it
} nag_slot;

// Not a place on a stack but the slot's state. All of these are above any place.
#define NAG_STACK_FREE (~0ull)           // below `top`: taken, and about to be filled
#define NAG_STACK_ELSEWHERE (~0ull - 7)  // its frame has returned on another thread
static inline bool nag_hooks(const nag_slot *slot) { return slot->stack < NAG_STACK_ELSEWHERE; }

/// The general registers of the traced function, as a handler in C finds them (PUSH_REGISTERS in
/// stubs.h).
typedef struct nag_registers {
  uint64_t r10, r9, r8, rdi, rsi, rdx, rcx, rax;
} nag_registers;

/// How a hooked frame returned.
typedef struct nag_returned {
  bool is_unknown;    ///< the frame is not open on this thread's shadow stack
  bool is_last;       ///< it was the outermost one, not of the thread's own stack
} nag_returned;

/// A thread's events and counters.
typedef struct nag_buffer {
  uint8_t *chunk;
  uint64_t *counts;             ///< tracer hits, by function number
  uint64_t counted;             ///< how many
  struct nag_frame *tree_top, *tree_end;  ///< tracer callgraph
  uint64_t stack_low, stack_size;
  uint64_t epoch;               ///< tracer function: a number of 16 bits, the chunk's own
  // Only C uses what follows.
  uint32_t ring_chunks;         ///< flight recorder: how many it has; the newest is `chunk`
  uint8_t *counters;            ///< the newest chunk of counters
  uint32_t serial, sequence;    ///< of the thread; of its next chunk
  int32_t thread;               ///< kernel thread id; 0: the buffer is new, or was wiped by a fork
  uint64_t lost;                ///< events
  struct nag_tree *tree;        ///< tracer callgraph
  nrec_profile_entry *profile;  ///< tracer profile, by function number
  uint64_t profiled;            ///< how many
  uint64_t last_time;           ///< tracer profile: of the last entry or return
  uint64_t open_windows;        ///< call_limits.c: graph functions that are open
  // Tracer function; other tracers map nothing from here on.
  _Alignas(NAG_BUFFER_CALLERS) uint64_t callers[NAG_PAIRS];  ///< return address << 16 | epoch
  uint32_t called[NAG_PAIRS];                               ///< functions
} nag_buffer;

/// A thread's fast state.
typedef struct nag_tls {
  nag_slot *top, *end;
  nag_buffer *buffer;
  nag_slot *first;              ///< the sentinel below the first slot of the current segment
  uint64_t floor;               ///< a call whose return address is below may be on another stack
  uint32_t choice;              ///< the thread filter's: see thread_filter_entry.S
  uint32_t refused;             ///< no shadow stack was available: only entries are recorded
  struct nag_stacks *stacks;    ///< see shadow_stack.h; NULL: none of its returns was hooked yet
  uint64_t unwound;             ///< when an exception or longjmp last ended frames; in units
  uint32_t end_rounds;          ///< how often its end was announced
  char name[16];                ///< the last that was known; empty: none was
  int32_t thread;               ///< its id when its buffer was made last; 0: it had none
  uint8_t *chunk;               ///< a confined thread's in a slow path, hidden from the assembly
  uint32_t holds;               ///< how many slow paths it is in
  bool has_no_clock;            ///< it may not read the time stamp counter
  bool is_lent;                 ///< a vfork child has executed a program: its frames are over
  bool is_over;                 ///< nothing more of it is recorded: see nag_thread_leave
  uint64_t stack_low, stack_high;  ///< the thread's own stack, as far as known
  uint64_t mapped_low;          ///< from here to stack_high there is memory for as long as it runs
} nag_tls;

extern __thread nag_tls nag_self __attribute__((tls_model("initial-exec"), visibility("hidden")));

/// The thread's control block; its thread variables lie at fixed distances from it.
static inline uint64_t nag_thread_pointer(void) {
  uint64_t pointer;
  __asm__("movq %%fs:0, %0" : "=r"(pointer));
  return pointer;
}

/// Offset of the rseq area's sequence pointer from the thread pointer; 0: threads have no such
/// area.
extern int64_t nag_rseq __attribute__((visibility("hidden")));

/// The thread's chunk of events, or NULL.
static inline uint8_t *nag_chunk(const nag_buffer *buffer) {
  return nag_self.chunk != NULL ? nag_self.chunk : buffer->chunk;
}

/// Where it is noted.
static inline void nag_set_chunk(nag_buffer *buffer, uint8_t *chunk) {
  if (nag_self.holds > 0) nag_self.chunk = chunk;
  else buffer->chunk = chunk;
}

/// The state of the thread's chunk. There must be one.
static inline uint64_t *nag_state(const nag_buffer *buffer) {
  return &((nrec_chunk_header *)nag_chunk(buffer))->state;
}

#define NAG_SAME(actual, offset) _Static_assert((actual) == (offset), "as the assembly has it")
NAG_SAME(offsetof(nag_tls, top), NAG_TLS_TOP);
NAG_SAME(offsetof(nag_tls, end), NAG_TLS_END);
NAG_SAME(offsetof(nag_tls, buffer), NAG_TLS_BUFFER);
NAG_SAME(offsetof(nag_tls, floor), NAG_TLS_FLOOR);
NAG_SAME(offsetof(nag_tls, choice), NAG_TLS_CHOICE);
NAG_SAME(offsetof(nag_slot, return_address), NAG_SLOT_RETURN);
NAG_SAME(offsetof(nag_slot, stack), NAG_SLOT_STACK);
NAG_SAME(offsetof(nag_slot, function), NAG_SLOT_FUNCTION);
NAG_SAME(offsetof(nag_slot, extra), NAG_SLOT_EXTRA);
NAG_SAME(sizeof(nag_slot), NAG_SLOT_BYTES);
NAG_SAME(offsetof(nag_buffer, chunk), NAG_BUFFER_CHUNK);
NAG_SAME(offsetof(nag_buffer, counts), NAG_BUFFER_COUNTS);
NAG_SAME(offsetof(nag_buffer, counted), NAG_BUFFER_COUNTED);
NAG_SAME(offsetof(nag_buffer, tree_top), NAG_BUFFER_TREE_TOP);
NAG_SAME(offsetof(nag_buffer, tree_end), NAG_BUFFER_TREE_END);
NAG_SAME(offsetof(nag_buffer, stack_low), NAG_BUFFER_STACK_LOW);
NAG_SAME(offsetof(nag_buffer, stack_size), NAG_BUFFER_STACK_SIZE);
NAG_SAME(offsetof(nag_buffer, epoch), NAG_BUFFER_EPOCH);
NAG_SAME(offsetof(nag_buffer, callers), NAG_BUFFER_CALLERS);
NAG_SAME(offsetof(nag_buffer, called), NAG_BUFFER_CALLED);
NAG_SAME(NREC_PAIRS, NAG_PAIRS);
NAG_SAME(NREC_TIME_SHIFT, NAG_TIME_SHIFT);
NAG_SAME(NREC_EVENT_PARENT, NAG_EVENT_PARENT);
NAG_SAME(NREC_EVENT_ENTRY, NAG_EVENT_ENTRY);
NAG_SAME(NREC_CHUNK_BYTES, NAG_CHUNK_BYTES);
NAG_SAME(offsetof(nrec_chunk_header, state), NAG_CHUNK_STATE);
NAG_SAME(sizeof(nrec_chunk_header), NAG_CHUNK_HEADER);

#endif
