// SPDX-License-Identifier: Apache-2.0
//
// The process as the recorder knows it: how it joins, the header of its event file, and what that
// header notes for the whole process.

#include "agent.h"
#include "syscalls.h"

static uint64_t realtime(void) {
  struct timespec time = {0};
  NAG_CALL(SYS_clock_gettime, 0 /* CLOCK_REALTIME */, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

// Maps the event file's first page.
static bool map_header(nag_process *process, uint32_t flags) {
  if (!nag_make_space(process->events, 0, NREC_PAGE)) return false;
  nrec_file_header *header = nag_mmap(NULL, NREC_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
                                      process->events, 0);
  if (header == NULL) return false;
  *header = (nrec_file_header){
    .version = NREC_VERSION, .header_size = sizeof *header, .process = nag_process_id(),
    .parent = (int32_t)NAG_CALL(SYS_getppid), .incarnation = nag_config.config.incarnation,
    .tracer = nag_config.config.tracer, .time_shift = NREC_TIME_SHIFT, .flags = flags,
    .start_time = nag_time(), .start_realtime_nanoseconds = realtime(),
    .next_offset = NREC_PAGE,
  };
  header->magic = NREC_FILE_MAGIC;
  process->header = header;
  return true;
}

// Marks a process without a recorder, so that no later call asks for one again. `error`: why, which
// the recorder is told; 0: it knows.
static bool give_up(nag_process *process, int32_t error) {
  const nag_note note = {.kind = NREC_NOTE_ALONE, .process = nag_process_id(), .time = nag_time(),
                         .error = error, .joined = nag_config.joined};
  if (error != 0) nag_note_leave(&note);
  if (process->socket >= 0) NAG_CALL(SYS_close, process->socket);
  process->socket = process->events = process->memory = -1;
  process->header = NULL;
  process->id = nag_process_id();
  return false;
}

// Closes the parent's descriptors. While the child holds the parent's socket, the recorder does not
// see the parent end. They are closed only once the child has a connection of its own: a child
// without any connection would look ended to the recorder as soon as the parent has ended.
static void close_inherited(void) {
  for (int i = 0; i < 3; i++) {
    if (nag_config.descriptors[i] > 0) NAG_CALL(SYS_close, nag_config.descriptors[i]);
    nag_config.descriptors[i] = 0;
  }
}

// Names the modules that this copy of a process has.
static void send_inherited(void) {
  nrec_inherited inherited = {.message = NREC_MESSAGE_INHERITED};
  const size_t fixed = offsetof(nrec_inherited, generations);
  uint32_t place = 0;
  do {
    inherited.count = nag_config.list_generations(inherited.generations, NREC_INHERITED_AT_ONCE,
                                                  &place);
  } while (nag_send(&inherited, fixed + inherited.count * sizeof(uint32_t)) &&
           inherited.count == NREC_INHERITED_AT_ONCE);
}

bool nag_join(uint32_t begin) {
  nag_process *process = nag_process_state;
  nrec_hello hello = {
    .message = NREC_MESSAGE_HELLO, .version = NREC_MESSAGE_VERSION, .process = nag_process_id(),
    .parent = (int32_t)NAG_CALL(SYS_getppid), .begin = begin, .time = nag_time(),
    .copied = begin == NREC_BEGIN_FORK ? nag_config.joined : 0,
  };
  nrec_config config;
  enum { EVENTS, MEMORY, NOTES, FILES };
  int files[FILES] = {-1, -1, -1};
  process->events = process->memory = -1;
  process->socket = nag_connect(nag_config.socket_path);
  if (begin == NREC_BEGIN_FORK) close_inherited();
  if (process->socket < 0) return give_up(process, -process->socket);
  if (!nag_send(&hello, sizeof hello) ||
      nag_receive(&config, sizeof config, files, FILES) != (int64_t)sizeof config ||
      config.message != NREC_MESSAGE_CONFIG || config.version != NREC_MESSAGE_VERSION ||
      files[MEMORY] < 0) {
    for (int i = 0; i < FILES; i++)
      if (files[i] >= 0) NAG_CALL(SYS_close, files[i]);
    return give_up(process, process->is_unanswered ? ETIMEDOUT : 0);
  }
  nag_config.config = config;
  process->events = files[EVENTS];
  process->memory = files[MEMORY];
  process->memory_bytes = nag_file_bytes(files[MEMORY]);
  nag_notes_map(files[NOTES]);
  if (files[NOTES] >= 0) NAG_CALL(SYS_close, files[NOTES]);
  nag_config.descriptors[0] = process->socket;
  nag_config.descriptors[1] = process->events;
  nag_config.descriptors[2] = process->memory;
  if (!map_header(process, config.flags & NREC_FLAG_OVERWRITE)) return give_up(process, ENOSPC);
  if (begin == NREC_BEGIN_FORK && nag_config.list_generations != NULL) send_inherited();
  process->id = nag_config.joined = hello.process;
  return true;
}

// An id of zero: the pages were wiped, so this is a forked child, which joins now. (Unless an
// anomaly has turned its parent's tracer off: then the child has nothing to record either.) The id
// of another process: this is a child that runs in its parent's memory, on its parent's stack,
// until it execs (vfork). Its calls count as its parent's.
bool nag_is_joined(void) {
  nag_process *process = nag_process_state;
  if (process->id == 0 && !nag_config.is_off) {
    nag_lock(&process->lock);
    if (process->id == 0) nag_join(NREC_BEGIN_FORK);
    nag_unlock(&process->lock);
  }
  return process->header != NULL;
}

void nag_lose(uint64_t events) {
  nrec_file_header *header = nag_process_state->header;
  if (header != NULL) __atomic_add_fetch(&header->lost_events, events, __ATOMIC_RELAXED);
}

static void mark(uint32_t flag) {
  nrec_file_header *header = nag_process_state->header;
  if (header != NULL) __atomic_or_fetch(&header->flags, flag, __ATOMIC_RELAXED);
}

void nag_mark_corrupted(void) { mark(NREC_FLAG_CORRUPTED); }
void nag_mark_full(void) { mark(NREC_FLAG_FULL); }
void nag_mark_shared(void) { mark(NREC_FLAG_SHARED); }

void nag_mark_ended(void) {
  nrec_file_header *header = nag_process_state->header;
  header->end_time = nag_time();
  header->end_realtime_nanoseconds = realtime();
  mark(NREC_FLAG_ENDED);
}
