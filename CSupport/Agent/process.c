// SPDX-License-Identifier: Apache-2.0
//
// The process as the recorder knows it: how it joins, the header of its event file, and what that
// header notes for the whole process.
//
// A fresh image asks the recorder over a socket, once, before the program's first instruction. A
// forked child claims a place in the arena, which its parent has mapped. That costs no system call
// and no descriptor.

#include "agent.h"
#include "syscalls.h"

// Fills the process's place in the arena; the recorder writes it to the event file. It completes what
// only a system call can tell: numbers and the time of day.
static void begin_header(nag_process *process, nrec_file_header *header) {
  *header = (nrec_file_header){
    .version = NREC_VERSION, .header_size = sizeof *header,
    .tracer = nag_config.config.tracer, .time_shift = NREC_TIME_SHIFT,
    .flags = nag_config.config.flags & NREC_FLAG_OVERWRITE, .start_time = nag_time(),
  };
  __atomic_store_n(&header->magic, NREC_FILE_MAGIC, __ATOMIC_RELEASE);
  process->header = header;
}

// Marks a process without a recorder, so that no later call asks for one again. `error`: why, which
// the recorder is told; 0: it knows.
static bool give_up(nag_process *process, int32_t error) {
  if (nag_is_confined) {
    process->id = -1;
    return false;
  }
  const nag_note note = {.kind = NREC_NOTE_ALONE, .process = nag_process_id(), .time = nag_time(),
                         .error = error, .joined = nag_config.joined};
  if (error != 0) nag_note_leave(&note);
  process->header = NULL;
  process->id = note.process;
  return false;
}

int nag_join(int socket) {
  nag_process *process = nag_process_state;
  nrec_hello hello = {
    .message = NREC_MESSAGE_HELLO, .version = NREC_MESSAGE_VERSION, .process = nag_process_id(),
    .parent = (int32_t)NAG_CALL(SYS_getppid), .time = nag_time(),
  };
  nrec_config config;
  enum { ARENA, NOTES, FILES };
  int files[FILES];
  int error = socket >= 0 ? nag_ask_over(socket, &hello, &config, files, FILES)
                          : nag_ask(nag_config.socket_path, &hello, &config, files, FILES);
  bool is_answered = error == 0;
  if (is_answered) {
    error = nag_arena_map(files[ARENA]);
    nag_notes_map(files[NOTES]);
  }
  for (int i = 0; i < FILES; i++)
    if (files[i] >= 0) NAG_CALL(SYS_close, files[i]);
  if (!is_answered) {
    give_up(process, error == EPROTO ? 0 : error);
    return error;
  }
  nrec_arena_process *place = error != 0 ? NULL : nag_arena_place(config.place);
  if (place == NULL) {
    hello.error = error != 0 ? error : EPROTO;
    if (socket < 0) nag_tell(nag_config.socket_path, &hello);
    give_up(process, 0);
    return hello.error;
  }
  nag_config.config = config;
  nag_config.image = config.image;
  process->place = config.place;
  begin_header(process, &place->header);
  process->id = nag_config.joined = hello.process;
  return 0;
}

void nag_part(void) {
  nag_process *process = nag_process_state;
  const int32_t id = process->id;
  *process = (nag_process){.id = id};
}

// Names the modules that this copy of a process has.
static void send_inherited(void) {
  nrec_inherited inherited = {.message = NREC_MESSAGE_INHERITED};
  const size_t fixed = offsetof(nrec_inherited, generations);
  uint32_t place = 0;
  do {
    inherited.count = nag_config.list_generations(inherited.generations, NREC_INHERITED_AT_ONCE,
                                                  &place);
    nag_mail_add(&inherited, fixed + inherited.count * sizeof(uint32_t));
  } while (inherited.count == NREC_INHERITED_AT_ONCE);
  nag_mail_send();
}

// A forked child takes a place of its own.
static bool claim(void) {
  nag_process *process = nag_process_state;
  uint32_t number;
  uint64_t spent;
  nrec_arena_process *place =
      nag_config.arena == NULL ? NULL : nag_arena_claim(&number, &spent);
  if (place == NULL) return give_up(process, nag_config.arena == NULL ? 0 : EAGAIN);
  process->place = number;
  place->copied = nag_config.image;
  place->image = nag_config.image = nag_arena_next_image();
  place->thread = nag_thread_id_after_fork();
  place->answers = 0;
  begin_header(process, &place->header);
  nag_arena_claimed(&place->header, spent);
  if (nag_config.list_generations != NULL) send_inherited();
  // Where it is not known, another number that no process has.
  process->id = place->thread != 0 ? place->thread : -1;
  nag_config.joined = process->id;
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
    if (process->id == 0) claim();
    nag_unlock(&process->lock);
  }
  return process->header != NULL;
}

void nag_lose(uint64_t events) {
  nrec_file_header *header = nag_process_state->header;
  if (header != NULL) __atomic_add_fetch(&header->lost_events, events, __ATOMIC_RELAXED);
}

void nag_mark(uint32_t flag) {
  nrec_file_header *header = nag_process_state->header;
  if (header != NULL) __atomic_or_fetch(&header->flags, flag, __ATOMIC_RELAXED);
}

void nag_mark_ended(void) {
  nrec_file_header *header = nag_process_state->header;
  header->end_time = nag_time();
  nag_mark(NREC_FLAG_ENDED);
}
