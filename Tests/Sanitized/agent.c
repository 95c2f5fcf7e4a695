// SPDX-License-Identifier: Apache-2.0
//
// Calls the agent's slow paths as the agent's stubs call them, on an arena of this program, and reads
// back what they hand over. The stubs are assembly, which no sanitizer sees.
#define _GNU_SOURCE
#include "agent.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "syscalls.h"

void nag_enter_hits(uint32_t function, uint64_t *location);
void nag_enter_callgraph(uint32_t function, uint64_t *location);
void nag_enter_profile(uint32_t function, uint64_t *location);
uint64_t nag_leave_profile(nag_slot *slot, uint64_t location);

enum { CHUNKS = 256 };

static bool has_range, may_grow;

// Where trampolines and slots lie, instead of trampoline_range.c's: an address range that no unwinder
// knows.
uint8_t *nag_trampolines_find(nag_unwinding *unwinding) {
  (void)unwinding;
  return nag_mmap(NULL, (uint64_t)2 * NAG_SHADOW_DISTANCE, PROT_NONE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

// Sets up a process in the state that nag_join leaves.
static void begin(uint32_t tracer, uint32_t flags) {
  nag_config.config = (nrec_config){.tracer = tracer, .flags = flags, .overwrite_bytes = 1 << 18};
  nag_config.tracer = nag_tracer_choose(&nag_config.config);
  if (nag_process_state == NULL) {
    nag_process_state = nag_wiped_pages(sizeof *nag_process_state);
    CHECK(nag_orphans_prepare());
    nag_stack_prepare();
  }
  if (!has_range && nag_config.tracer->return_handler != NULL) {
    nag_shadow_prepare();
    has_range = true;
  }
  nag_config.layout = nrec_arena_plan((uint64_t)CHUNKS * NREC_CHUNK_BYTES);
  nag_config.arena = nag_pages(nrec_arena_bytes(&nag_config.layout));
  CHECK(nag_config.arena != NULL);
  nag_config.arena->chunk_count = nag_config.layout.chunks;
  nag_config.arena->is_full = !may_grow;
  nag_process *process = nag_process_state;
  *process = (nag_process){.id = getpid(), .place = 7};
  process->header = &nag_arena_place(process->place)->header;
  *process->header = (nrec_file_header){.magic = NREC_FILE_MAGIC, .version = NREC_VERSION};
}

static uint32_t owner_of(uint32_t index) {
  return nrec_arena_entry(nag_config.arena, &nag_config.layout, index)->owner;
}

static void end(void) {
  nag_buffer *buffer = nag_self.buffer;
  nag_self.buffer = NULL;
  if (buffer != NULL) {
    nag_thread_finish(buffer);
    munmap(buffer, nag_config.tracer->buffer_bytes);
  }
  nag_shadow_release();
  // What is still taken was handed over: nothing stays behind of an ended thread.
  for (uint32_t i = 0; i < nag_config.layout.chunks; i++)
    if (owner_of(i) == nrec_owner(7, NREC_OWNED)) CHECK(!"a chunk was left");
  nag_process_state->header = NULL;
  munmap(nag_config.arena, nrec_arena_bytes(&nag_config.layout));
  nag_config.arena = NULL;
}

// The chunk that was handed over with the lowest sequence number from `*next` on, in the arena; NULL:
// there is none.
static nrec_chunk_header *next_chunk(uint32_t *next) {
  nrec_chunk_header *found = NULL;
  for (uint32_t i = 0; i < nag_config.layout.chunks; i++) {
    if (owner_of(i) != nrec_owner(7, NREC_FULL)) continue;
    nrec_chunk_header *chunk =
        (nrec_chunk_header *)nrec_arena_chunk_at(nag_config.arena, &nag_config.layout, i);
    CHECK(chunk->magic == NREC_CHUNK_MAGIC && chunk->size >= sizeof *chunk);
    if (chunk->sequence >= *next && (found == NULL || chunk->sequence < found->sequence)) found = chunk;
  }
  if (found != NULL) *next = found->sequence + 1;
  return found;
}

static void check_hits(void) {
  begin(NREC_TRACER_HITS, 0);
  static const uint32_t functions[] = {0, 1, 4095, 4096, 70000, 1, 0, 0};
  for (int i = 0; i < 8; i++) nag_enter_hits(functions[i], NULL);
  CHECK(nag_self.buffer->counted > 70000);
  nag_thread_finish(nag_self.buffer);
  uint32_t next = 0;
  nrec_chunk_header *chunk = next_chunk(&next);
  CHECK(chunk != NULL && chunk->size > 70000 * sizeof(uint64_t));
  const uint64_t *counts = (const uint64_t *)(chunk + 1);
  CHECK(counts[0] == 3 && counts[1] == 2 && counts[4095] == 1 && counts[4096] == 1);
  CHECK(counts[70000] == 1);
  CHECK(next_chunk(&next) == NULL);  // those that were replaced are free
  end();
}

// A recursion deeper than the frames that the tracer keeps, then its returns and another child.
static void check_tree(void) {
  begin(NREC_TRACER_CALLGRAPH, 0);
  uint64_t frames[256];
  for (int round = 0; round < 50; round++) {
    nag_enter_callgraph(1, &frames[255]);
    for (uint32_t depth = 0; depth < 200; depth++) nag_enter_callgraph(2 + depth % 3, &frames[250 - depth]);
    nag_enter_callgraph(9, &frames[251]);
    nag_enter_callgraph(1000u + (uint32_t)round, &frames[200]);
  }
  // More functions than a chunk of nodes holds.
  for (uint32_t i = 0; i < 9000; i++) nag_enter_callgraph(5000 + i, &frames[251]);
  CHECK(nag_callgraph_calls(nag_self.buffer) == 50u * 203 + 9000);
  nag_thread_finish(nag_self.buffer);
  uint64_t calls = 0, nodes = 0;
  uint32_t next = 0;
  for (nrec_chunk_header *chunk; (chunk = next_chunk(&next)) != NULL;) {
    const nrec_tree_node *node = (const nrec_tree_node *)(chunk + 1);
    for (size_t i = 0; i < (chunk->size - sizeof *chunk) / sizeof *node; i++, nodes++) {
      CHECK(nodes == 0 || node[i].parent < nodes);
      calls += node[i].calls;
    }
  }
  CHECK(calls == 50u * 203 + 9000);
  end();
}

// Hooks returns in an array that stands for the stack: pushed, popped in order and out of order.
static void check_profile(void) {
  begin(NREC_TRACER_PROFILE, 0);
  uint64_t stack[128];
  for (int round = 0; round < 20; round++) {
    for (int i = 127; i > 27; i--) {
      stack[i] = (uint64_t)i << 4;
      nag_enter_profile((uint32_t)i * 37, &stack[i]);
      CHECK(stack[i] != (uint64_t)i << 4);
    }
    // A jump leaves the 50 innermost frames, or none.
    if (round % 2 == 0) nag_shadow_jumping((uint64_t)&stack[78]);
    for (int i = round % 2 ? 28 : 78; i < 128; i++) {
      nag_slot *slot = (nag_slot *)(stack[i] + NAG_SHADOW_DISTANCE);
      CHECK(nag_leave_profile(slot, (uint64_t)&stack[i]) == (uint64_t)i << 4);
    }
    CHECK(nag_shadow_depth() == 0);
  }
  const nrec_profile_entry *entry = &nag_self.buffer->profile[127 * 37];
  CHECK(entry->calls == 20 && entry->ended_calls == 20 && entry->open_calls == 0);
  CHECK(entry->minimum_time <= entry->maximum_time && entry->sum_time >= entry->maximum_time);
  end();
}

// The slow path of every event, over many chunks: every chunk is closed and has its length.
static void check_events(uint32_t tracer, uint32_t flags) {
  begin(tracer, flags);
  uint64_t now = nag_time();
  for (uint32_t i = 0; i < 60000; i++) {
    nag_event_entry(i, now += i % 7, false);
    if (tracer == NREC_TRACER_FUNCTION) nag_event_called(i % 9, now += 1, 0x7fff00000000u + i);
    if (i % 1000 == 0) now += (uint64_t)1 << (20 + i / 1000 % 20);
    nag_event_exit(now += 5);
    if (i % 100 == 0) nag_event_entry(~0u, now - 1000, false);  // a clock that goes back
  }
  nag_thread_finish(nag_self.buffer);
  uint64_t total = 0;
  uint32_t sequence = 0, chunks = 0, next = 0;
  for (nrec_chunk_header *chunk; (chunk = next_chunk(&next)) != NULL; chunks++) {
    uint64_t used = chunk->state & 0xffff;
    CHECK(used <= chunk->size && chunk->size <= NAG_CHUNK_BYTES);
    CHECK(chunks == 0 || chunk->sequence == sequence + 1);
    sequence = chunk->sequence;
    total += used;
  }
  CHECK(chunks >= 2 && total > (chunks - 1) * 60000u);
  CHECK(flags ? chunks == (may_grow ? 4 : 2) : chunks > 3 && sequence + 1 == chunks);
  end();
}

static void check_stream(void) { check_events(NREC_TRACER_GRAPH, 0); }
static void check_callers(void) { check_events(NREC_TRACER_FUNCTION, 0); }
static void check_flight_recorder(void) {
  may_grow = true;
  check_events(NREC_TRACER_GRAPH, NREC_FLAG_OVERWRITE);
  // A full arena leaves a thread the two chunks that it cannot do without.
  may_grow = false;
  check_events(NREC_TRACER_GRAPH, NREC_FLAG_OVERWRITE);
}

// No space: events without a place are counted, and nothing is written outside of the buffers.
static void check_full(void) {
  begin(NREC_TRACER_GRAPH, 0);
  nag_process_state->header->flags |= NREC_FLAG_FULL;
  uint64_t now = nag_time();
  for (uint32_t i = 0; i < 40000; i++) nag_event_entry(i, now += 3, false);
  nag_enter_hits(5, NULL);
  nag_enter_callgraph(5, &now);
  const struct nag_tree *tree = nag_self.buffer->tree;
  nag_enter_callgraph(5, &now);
  CHECK(nag_self.buffer->tree == tree);  // a call does not map another megabyte
  nag_thread_finish(nag_self.buffer);
  CHECK(nag_process_state->header->lost_events == 40000 + 3);
  for (uint32_t i = 0; i < nag_config.layout.chunks; i++) CHECK(owner_of(i) == 0);
  end();
}

static void check_orphans(void) {
  begin(NREC_TRACER_GRAPH, 0);
  uint64_t places[4096];
  for (uint64_t i = 0; i < 64; i++) nag_orphan_add((uint64_t)&places[i * 8], 1000 + i, 2000 + i);
  for (uint64_t i = 0; i < 64; i++)
    CHECK(nag_orphan_take((uint64_t)&places[i * 8], 1000 + i) == 2000 + i);
  places[0] = 77;
  CHECK(nag_holds((uint64_t)&places[0], 77) && !nag_holds((uint64_t)&places[0], 78));
  CHECK(!nag_holds(4096, 0));
  end();
}

static const check checks[] = {
  {"hits", check_hits, NULL},
  {"tree", check_tree, NULL},
  {"profile", check_profile, NULL},
  {"stream", check_stream, NULL},
  {"callers", check_callers, NULL},
  {"flight-recorder", check_flight_recorder, NULL},
  {"full", check_full, NULL},
  {"orphans", check_orphans, NULL},
};

int main(int argc, char **argv) {
  return check_main(checks, sizeof checks / sizeof checks[0], argc, argv);
}
