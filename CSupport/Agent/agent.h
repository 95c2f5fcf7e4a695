// SPDX-License-Identifier: Apache-2.0
//
// The agent: what runs inside the traced program. Its rules:
//
//   - C and assembly, libc its only dependency, general registers only (-mgeneral-regs-only): an
//     entry may hold arguments in every vector register.
//   - On the hot path and in its slow paths no libc function, no lock that a signal handler or a
//     forked child may find held, no allocation but mmap: system calls are made directly.
//   - State that a forked child must not share lives in pages marked MADV_WIPEONFORK: the child
//     finds zeroes there, however it was forked, and joins as a process of its own.
//   - The program never depends on the recorder: without one it runs on, untraced.

#ifndef NAG_AGENT_H
#define NAG_AGENT_H

// --- for the assembly too ---------------------------------------------------------------------------

#define NAG_TLS_TOP 0        // next free shadow slot
#define NAG_TLS_END 8        // where the mapped slots end; 0: none
#define NAG_TLS_BUFFER 16    // nag_buffer, or 0
#define NAG_TLS_CHOICE 40    // filter by thread: see thread_filter_entry.S

#define NAG_BUFFER_CHUNK 0       // the chunk's address; 0: none
#define NAG_BUFFER_COUNTS 8      // hits: the counters; 0: none
#define NAG_BUFFER_COUNTED 16    // hits: how many
#define NAG_BUFFER_TREE_TOP 24   // call tree: the innermost frame
#define NAG_BUFFER_TREE_END 32   // where its stack ends
#define NAG_BUFFER_STACK_LOW 40  // the thread's own stack
#define NAG_BUFFER_STACK_SIZE 48
#define NAG_BUFFER_EPOCH 56      // tracer function: of the chunk
#define NAG_BUFFER_CALLERS 256   // tracer function: see function.S
#define NAG_BUFFER_CALLED 65792  // behind the callers
#define NAG_PAIRS 8192

#define NAG_NODE_SHARED 0        // a nag_node: see tree.c
#define NAG_NODE_FUNCTION 8
#define NAG_NODE_KNOWN 40
#define NAG_KNOWN 16             // how many

#define NAG_SLOT_RETURN 0    // the return address that was replaced
#define NAG_SLOT_STACK 8     // where it was replaced; all ones while the slot is free
#define NAG_SLOT_FUNCTION 24
#define NAG_SLOT_EXTRA 28
#define NAG_SLOT_BYTES 32

#define NAG_CHUNK_STATE 40   // time << 16 | offset
#define NAG_CHUNK_HEADER 64
#define NAG_CHUNK_BYTES 65536
#define NAG_CHUNK_SLACK 32   // the longest write of the hot path

#include "../Trampolines/include/Trampolines.h"  // NAG_SHADOW_DISTANCE

#ifndef __ASSEMBLER__

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "CPatchCore.h"
#include "CRecordingABI.h"

/// One hooked return. 32 bytes.
typedef struct nag_slot {
  uint64_t return_address;
  uint64_t stack;
  uint64_t time;           ///< tracers that need it: of the entry
  uint32_t function;
  uint32_t extra;          ///< graph: 1 where the caller's registers are kept; call_limits.c: its own
} nag_slot;

_Static_assert(offsetof(nag_slot, function) == NAG_SLOT_FUNCTION, "as the assembly has it");
_Static_assert(offsetof(nag_slot, extra) == NAG_SLOT_EXTRA, "as the assembly has it");
_Static_assert(sizeof(nag_slot) == NAG_SLOT_BYTES, "as the assembly has it");

#define NAG_STACK_FREE (~0ull)          // nothing is hooked by this slot
#define NAG_STACK_ELSEWHERE (~0ull - 1)  // its frame has returned on another thread

/// How a hooked frame returned.
typedef struct nag_returned {
  bool is_top;        ///< it is the innermost open function
  bool is_unknown;    ///< this thread's record does not have it as open
  uint32_t depth;     ///< else: how many open functions lie outside it
} nag_returned;

/// A thread's event buffer and counters. In memory that a forked child finds wiped.
typedef struct nag_buffer {
  uint8_t *chunk;
  uint64_t *counts;
  uint64_t counted;
  struct nag_frame *tree_top, *tree_end;
  uint64_t stack_low, stack_size;
  uint64_t epoch;               ///< tracer function: a number of 16 bits, the chunk's own
  // The slow path's own:
  uint8_t *ring;                ///< its part of the memory file
  uint64_t place;               ///< which part
  uint32_t ring_chunks, ring_next;
  uint32_t serial, sequence;
  int32_t thread;
  uint64_t lost;
  struct nag_tree *tree;        ///< tracer callgraph
  nrec_profile_entry *profile;  ///< tracer profile, by function number
  uint64_t profiled;            ///< how many
  uint64_t last_time;           ///< tracer profile: of the last entry or return
  uint64_t gate;                ///< open graph functions
  // Tracer function; of others, the rest is not mapped.
  _Alignas(NAG_BUFFER_CALLERS) uint64_t callers[NAG_PAIRS];  ///< return address << 16 | epoch
  uint32_t called[NAG_PAIRS];                               ///< functions
} nag_buffer;

_Static_assert(offsetof(nrec_chunk_header, state) == NAG_CHUNK_STATE, "as the assembly has it");
_Static_assert(sizeof(nrec_chunk_header) == NAG_CHUNK_HEADER, "as the assembly has it");
_Static_assert(offsetof(nag_buffer, chunk) == NAG_BUFFER_CHUNK, "as the assembly has it");
_Static_assert(offsetof(nag_buffer, counts) == NAG_BUFFER_COUNTS, "as the assembly has it");
_Static_assert(offsetof(nag_buffer, counted) == NAG_BUFFER_COUNTED, "as the assembly has it");
_Static_assert(offsetof(nag_buffer, tree_top) == NAG_BUFFER_TREE_TOP, "as the assembly has it");
_Static_assert(offsetof(nag_buffer, tree_end) == NAG_BUFFER_TREE_END, "as the assembly has it");
_Static_assert(offsetof(nag_buffer, stack_low) == NAG_BUFFER_STACK_LOW, "as the assembly has it");
_Static_assert(offsetof(nag_buffer, epoch) == NAG_BUFFER_EPOCH, "as the assembly has it");
_Static_assert(offsetof(nag_buffer, callers) == NAG_BUFFER_CALLERS, "as the assembly has it");
_Static_assert(offsetof(nag_buffer, called) == NAG_BUFFER_CALLED, "as the assembly has it");
_Static_assert(NAG_PAIRS == NREC_PAIRS, "a short ENTRY holds its number");
_Static_assert(offsetof(nag_buffer, stack_size) == NAG_BUFFER_STACK_SIZE, "as the assembly has it");

/// A thread's fast state. Copied by fork with the stack it describes.
typedef struct nag_tls {
  nag_slot *top, *end;
  nag_buffer *buffer;
  nag_slot *first;              ///< the sentinel below the first slot
  uint32_t region;              ///< 1 + index of its part of the shadow range; 0: none
  uint32_t refused;             ///< no shadow stack to be had: entries only
  uint32_t choice;              ///< filter by thread: see thread_filter_entry.S
  uint64_t stack_low, stack_high;  ///< the thread's own stack, as far as known
} nag_tls;

_Static_assert(offsetof(nag_tls, choice) == NAG_TLS_CHOICE, "as thread_filter_entry.S has it");

extern __thread nag_tls nag_self __attribute__((tls_model("initial-exec"), visibility("hidden")));

enum { NAG_FREE_PLACES = 896 };

/// What a forked child must make anew. In wiped memory.
typedef struct nag_process {
  _Atomic uint32_t lock;        ///< futex: 0 free, 1 held, 2 held and awaited
  _Atomic uint32_t orphans_lock; ///< see orphaned_returns.c
  int32_t id;                   ///< 0: not joined; -1: no recorder, nothing is recorded
  int32_t socket, events;       ///< descriptors, or -1
  int32_t memory;               ///< the memory file, or -1
  bool is_unanswered;           ///< the recorder was silent for too long: it is asked no more
  uint64_t memory_bytes;        ///< how much of it may be mapped
  nrec_file_header *header;
  uint32_t next_serial;
  uint32_t next_place, free_places;
  uint32_t places[NAG_FREE_PLACES];  ///< parts of the memory file that ended threads left
} nag_process;

/// The same for parent and child: what a fork copies rightly.
typedef struct nag_shared {
  nrec_config config;
  char socket_path[108];
  int32_t joined;               ///< the last process that joined: this one or its ancestor
  int32_t descriptors[3];       ///< its socket and files, which a forked child has too
  uint64_t page_bytes;
  bool is_ready;
} nag_shared;

extern nag_process *nag_process_state;
/// Where a thread's rseq area has its sequence, from the thread pointer; 0: there is no area.
extern int64_t nag_rseq __attribute__((visibility("hidden")));

/// The state of a buffer's chunk; it has one.
static inline uint64_t *nag_state(const nag_buffer *buffer) {
  return &((nrec_chunk_header *)buffer->chunk)->state;
}
extern nag_shared nag_config;

// agent.c
bool nag_join(uint32_t begin);          ///< connects to the recorder; under the process lock
void nag_fail(void);                    ///< gives up recording for good
// buffer.c
bool nag_exceeds_limit(uint64_t end);   ///< a file that long would be a SIGXFSZ
/// A chunk with room for an event; false: it is counted as lost. `more_open`: by how many functions
/// the shadow stack is behind the events: -1 for a frame that is hooked and whose entry comes now.
bool nag_buffer_make_room(int32_t more_open);
/// Space in a file, allocated before it is mapped: a hole in a full file system would be a SIGBUS at a
/// store, a file-size limit a SIGXFSZ. False: there is none.
bool nag_make_space(int file, uint64_t offset, uint64_t bytes);
void nag_buffer_finish(nag_buffer *buffer);
/// The chunk's state, with room made for what comes next; 0: there is none.
uint64_t nag_buffer_mark(void);
size_t nag_buffer_bytes(void);          ///< of one that is mapped, for the tracer that runs
void nag_event_entry(uint32_t function, uint64_t time, bool is_hooked);
void nag_event_exit(uint64_t time);
/// Tracer function: the entry and who called it.
void nag_event_called(uint32_t function, uint64_t time, uint64_t parent);
void nag_event_unwound(uint32_t count);
void nag_event_exit_at(uint32_t depth, uint64_t time);
/// A chunk of its own kind with room for `bytes` behind its header; NULL: no space.
uint8_t *nag_map_chunk(nag_buffer *buffer, uint32_t kind, size_t bytes);
// thread.c
bool nag_is_joined(void);               ///< a forked child joins here; false: no recorder
nag_buffer *nag_thread_buffer(void);    ///< this thread's, made at need; NULL: nothing is recorded
// profile.c
void nag_profile_dropped(const nag_slot *slot);  ///< its frame ended without returning
// tree.c
void nag_tree_release(nag_buffer *buffer);
uint64_t nag_tree_calls(const nag_buffer *buffer);  ///< in all
// call_limits.c
void nag_limited_dropped(const nag_slot *slot);
// shadow.c
nag_slot *nag_shadow_push(uint64_t *location, uint32_t function);
/// `location`: where the return address stood, just below the stack pointer after the return.
uint64_t nag_shadow_pop(nag_slot *slot, uint64_t location, nag_returned *how);
bool nag_shadow_matches(const nag_slot *slot, uint64_t location);  ///< it returns as it was entered
/// The same with signals as they are, for the common case; else they block them.
nag_slot *nag_shadow_push_running(uint64_t *location, uint32_t function);
uint64_t nag_shadow_pop_running(nag_slot *slot, uint64_t location);
uint32_t nag_shadow_live_depth(uint64_t location);  ///< without the frames that are over
void nag_find_stack(void);              ///< stack_low and stack_high
uint32_t nag_shadow_depth(void);
void nag_shadow_prepare(void);
void nag_shadow_release(void);
// orphaned_returns.c
bool nag_holds(uint64_t address, uint64_t word);  ///< false too where no memory is
void nag_orphan_add(uint64_t location, uint64_t trampoline, uint64_t return_address);
uint64_t nag_orphan_take(uint64_t location, uint64_t trampoline);
bool nag_orphans_prepare(void);
// trampoline_range.c
uint8_t *nag_trampolines_find(void);           ///< loads it; NULL: returns cannot be hooked
// sites.c
/// Its stubs, to be unmapped with the module; NULL: none. `protocol`: NPC_PROTOCOL_NONE before its
/// first instruction runs, the jump guard where it may.
uint8_t *nag_sites_module(uint32_t generation, const npc_module *module,
                          const nrec_plan_entry *plan, uint32_t count, int32_t protocol,
                          nrec_applied *applied, size_t *stub_bytes);
// link.c
int nag_connect(const char *path);
uint64_t nag_file_bytes(int file);      ///< 0 where it is no regular file
bool nag_is_sealed(int file);           ///< it can neither change nor shrink
bool nag_send(const void *message, size_t length);
int64_t nag_receive(void *message, size_t length, int *descriptors, int count);
// modules.c
void nag_modules_changed(void);
bool nag_modules_start(void);

/// Whether entries have to be looked at one by one: depth, duration, or a window.
static inline bool nag_has_call_limits(void) {
  const nrec_config *config = &nag_config.config;
  return config->tracer == NREC_TRACER_GRAPH &&
         (config->only_in_graph || config->maximum_depth || config->threshold);
}

static inline uint64_t nag_time(void) {
  uint32_t low, high;
  __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
  return ((uint64_t)high << 32 | low) >> NREC_TIME_SHIFT;
}

#endif
#endif
