// SPDX-License-Identifier: Apache-2.0
//
// Leaves notes for the recorder in the memory that all processes of a recording share: see
// nrec_notes.h. Takes no lock, so that a process that is killed here stops nobody.

#define _GNU_SOURCE
#include "agent.h"
#include "syscalls.h"

static nrec_note *take_place(nrec_notes *notes) {
  uint64_t next = __atomic_load_n(&notes->next, __ATOMIC_RELAXED);
  do {
    if (next - __atomic_load_n(&notes->read, __ATOMIC_ACQUIRE) >= nag_config.notes_count) {
      __atomic_add_fetch(&notes->lost, 1, __ATOMIC_RELAXED);
      return NULL;
    }
  } while (!__atomic_compare_exchange_n(&notes->next, &next, next + 1, false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_RELAXED));
  return &notes->notes[next % nag_config.notes_count];
}

void nag_note_leave(const nag_note *what) {
  nrec_note *note = nag_config.notes == NULL ? NULL : take_place(nag_config.notes);
  if (note == NULL) return;
  note->process = what->process;
  note->time = what->time;
  note->error = what->error;
  note->flags = what->flags;
  note->joined = what->joined;
  uint32_t length = 0;
  if (what->program != NULL)
    while (what->program[length] != 0) length++;
  note->length = length;
  nag_copy(note->program, what->program,
           length < sizeof note->program ? length : sizeof note->program);
  __atomic_store_n(&note->kind, what->kind, __ATOMIC_RELEASE);
}

void nag_notes_map(int file) {
  // A file that shrinks later would make a store to it fault.
  uint64_t bytes = file >= 0 ? nag_file_bytes(file) : 0;
  bool is_usable = nrec_notes_in(bytes) > 0 && nag_check_sealed(file, bytes, F_SEAL_SHRINK) == 0;
  if (!is_usable || nag_config.notes != NULL) return;
  nag_config.notes_count = nrec_notes_in(bytes);
  nag_config.notes = nag_mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
}
