// SPDX-License-Identifier: Apache-2.0
//
// What processes tell the recorder that have no connection to it: one piece of shared memory for all
// processes of a recording, which each maps when it joins and its forked children have too. To leave
// a note takes no descriptor and no system call, so it can be left by a child that has dropped its
// user, its root directory or its descriptors, and by one that runs in its parent's memory (vfork).
//
//   +---------------------+-----------+-----------+-----------+----
//   | nrec_notes, a page  | nrec_note | nrec_note | nrec_note | ...     a ring
//   +---------------------+-----------+-----------+-----------+----
//
// The size of its file says how many there are: NREC_NOTES, or as many as a limit on file sizes lets
// the recorder make.
//
// A writer takes a place by one atomic operation on `next`, fills it and stores its kind last. The
// recorder reads in order and frees what it has read. Where the ring is full, the note is counted in
// `lost`. Programs may write anything here: the recorder follows no number in it.

#ifndef NREC_NOTES_H
#define NREC_NOTES_H

#include <stdint.h>

enum { NREC_NOTES = 1024, NREC_NOTE_BYTES = 256, NREC_NOTE_PROGRAM = 224 };

enum {
  NREC_NOTE_FREE = 0,
  NREC_NOTE_ALONE = 1,      ///< a forked child could not join: its calls are not recorded
  NREC_NOTE_EXEC = 2,       ///< the process executes `program` next
  NREC_NOTE_SPAWNED = 3,    ///< posix_spawn(3) has made the process, of `program`
  NREC_NOTE_STAYED = 4,     ///< the exec of the same time has failed
};

enum {
  NREC_NOTE_OTHERS = 1,     ///< the environment names another recorder, or none: left as it is
};

typedef struct nrec_note {
  uint32_t kind;            ///< NREC_NOTE_*, stored last
  int32_t process;          ///< as it knows itself
  uint64_t time;            ///< in units; EXEC, SPAWNED: before the program could begin
  int32_t error;            ///< errno of reaching the recorder's socket; 0: it can be reached
  uint32_t flags;
  uint32_t length;          ///< of the path, whole; cut where it is longer than `program`
  int32_t joined;           ///< ALONE: the process that it is a copy of and that joined
  char program[NREC_NOTE_PROGRAM];
} nrec_note;

typedef struct nrec_notes {
  uint64_t next;            ///< how many places were taken in all
  uint64_t read;            ///< how many of them the recorder has freed
  uint64_t lost;            ///< notes that found no place
  uint8_t padding[4096 - 24];
  nrec_note notes[NREC_NOTES];
} nrec_notes;

/// How many notes a file of so many bytes has.
static inline uint64_t nrec_notes_in(uint64_t bytes) {
  uint64_t count = bytes < 4096 ? 0 : (bytes - 4096) / NREC_NOTE_BYTES;
  return count < NREC_NOTES ? count : NREC_NOTES;
}

_Static_assert(sizeof(nrec_note) == NREC_NOTE_BYTES, "a note is 256 bytes");
_Static_assert(sizeof(nrec_notes) == 4096 + NREC_NOTES * NREC_NOTE_BYTES, "a page, then the notes");

#endif
