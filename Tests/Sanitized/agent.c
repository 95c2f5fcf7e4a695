// SPDX-License-Identifier: Apache-2.0
//
// Calls the agent's slow paths as the agent's stubs call them, on files of this program, and reads
// back what they leave in the event file. The stubs are assembly, which no sanitizer sees.
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

static int events, memory;
static bool has_range;

// Where trampolines and slots lie, instead of trampoline_range.c's: an address range that no unwinder
// knows.
uint8_t *nag_trampolines_find(void (*unwinding)(void)) {
  (void)unwinding;
  return nag_mmap(NULL, (uint64_t)2 * NAG_SHADOW_DISTANCE, PROT_NONE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

// Sets up a process in the state that nag_join leaves.
static void begin(uint32_t tracer, uint32_t flags) {
  events = memfd_create("events", MFD_CLOEXEC);
  memory = memfd_create("memory", MFD_CLOEXEC);
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
  CHECK(ftruncate(events, NREC_PAGE) == 0 && ftruncate(memory, 1 << 24) == 0);
  nag_process *process = nag_process_state;
  *process = (nag_process){.id = getpid(), .socket = -1, .events = events, .memory = memory,
                           .memory_bytes = 1 << 24};
  process->header = mmap(NULL, NREC_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, events, 0);
  *process->header = (nrec_file_header){.magic = NREC_FILE_MAGIC, .version = NREC_VERSION,
                                        .next_offset = NREC_PAGE};
}

static void end(void) {
  nag_buffer *buffer = nag_self.buffer;
  nag_self.buffer = NULL;
  if (buffer != NULL) {
    nag_thread_finish(buffer);
    munmap(buffer, nag_config.tracer->buffer_bytes);
  }
  nag_shadow_release();
  munmap(nag_process_state->header, NREC_PAGE);
  nag_process_state->header = NULL;
  close(events), close(memory);
}

// The event file's next chunk from `*at`, as a copy; NULL at its end.
static nrec_chunk_header *next_chunk(uint64_t *at) {
  nrec_chunk_header header;
  if (pread(events, &header, sizeof header, (off_t)*at) != (ssize_t)sizeof header) return NULL;
  CHECK(header.magic == NREC_CHUNK_MAGIC && header.size >= sizeof header);
  nrec_chunk_header *chunk = malloc(header.size);
  CHECK(pread(events, chunk, header.size, (off_t)*at) == (ssize_t)header.size);
  *at += header.size;
  return chunk;
}

static void check_hits(void) {
  begin(NREC_TRACER_HITS, 0);
  static const uint32_t functions[] = {0, 1, 4095, 4096, 70000, 1, 0, 0};
  for (int i = 0; i < 8; i++) nag_enter_hits(functions[i], NULL);
  CHECK(nag_self.buffer->counted > 70000);
  uint64_t at = NREC_PAGE, last[3] = {0};
  for (nrec_chunk_header *chunk; (chunk = next_chunk(&at)) != NULL; free(chunk)) {
    const uint64_t *counts = (const uint64_t *)(chunk + 1);
    last[0] = counts[0], last[1] = counts[1], last[2] = counts[4095];
  }
  CHECK(last[0] == 3 && last[1] == 2 && last[2] == 1);
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
  uint64_t at = NREC_PAGE, calls = 0, nodes = 0;
  for (nrec_chunk_header *chunk; (chunk = next_chunk(&at)) != NULL; free(chunk)) {
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
    // A jump leaves the 50 innermost frames. The next return finds that they have ended.
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
    nag_event_exit_at(0, now += 5);
    if (i % 100 == 0) nag_event_entry(~0u, now - 1000, false);  // a clock that goes back
  }
  nag_thread_finish(nag_self.buffer);
  uint64_t at = NREC_PAGE, total = 0;
  uint32_t sequence = 0, chunks = 0;
  for (nrec_chunk_header *chunk; (chunk = next_chunk(&at)) != NULL; free(chunk), chunks++) {
    uint64_t used = chunk->state & 0xffff;
    CHECK(used <= chunk->size && chunk->size <= NAG_CHUNK_BYTES);
    CHECK(chunks == 0 || chunk->sequence == sequence + 1);
    sequence = chunk->sequence;
    total += used;
  }
  CHECK(chunks > 3 && total > (chunks - 1) * 60000u);
  CHECK(flags ? chunks == 4 : sequence + 1 == chunks);
  end();
}

static void check_stream(void) { check_events(NREC_TRACER_GRAPH, 0); }
static void check_callers(void) { check_events(NREC_TRACER_FUNCTION, 0); }
static void check_flight_recorder(void) {
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
  CHECK(nag_process_state->header->lost_chunks > 3);
  CHECK(nag_process_state->header->lost_events == 3);
  CHECK(lseek(events, 0, SEEK_END) == NREC_PAGE);
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
