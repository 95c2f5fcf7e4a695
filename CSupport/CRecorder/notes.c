// SPDX-License-Identifier: Apache-2.0
//
// The recorder's end of the notes (nrec_notes.h). What is in that memory is untrusted input: the
// recorder keeps its own place in the ring.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "CRecordingABI.h"
#include "CRecorder.h"

struct nrc_notes {
  nrec_notes *shared;     ///< NULL: there are none
  uint64_t bytes, count;
  uint64_t next;          ///< the place that is read next
  uint64_t waits_since;   ///< when it was found taken and not filled; 0: it was not
  int file;
};

// Its pages exist before anybody has it, and it can neither grow nor shrink: no access faults.
static int make_file(uint64_t bytes) {
  int file = (int)syscall(SYS_memfd_create, "nopscope-notes", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (file < 0) return -1;
  int error = posix_fallocate(file, 0, (off_t)bytes);
  if (error == 0 && fcntl(file, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0)
    error = errno;
  if (error == 0) return file;
  close(file);
  errno = error;
  return -1;
}

nrc_notes *nrc_notes_make(void) {
  nrc_notes *notes = calloc(1, sizeof *notes);
  if (notes == NULL) return NULL;
  // A limit on file sizes applies here too.
  uint64_t limit = nrc_file_size_limit();
  notes->file = -1;
  notes->bytes = limit < sizeof(nrec_notes) ? limit : sizeof(nrec_notes);
  notes->count = nrec_notes_in(notes->bytes);
  if (notes->count == 0) return notes;
  notes->file = make_file(notes->bytes);
  void *shared = notes->file < 0 ? MAP_FAILED
                                 : mmap(NULL, notes->bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
                                        notes->file, 0);
  notes->shared = shared == MAP_FAILED ? NULL : shared;
  if (notes->shared != NULL) return notes;
  nrc_notes_free(notes);
  return NULL;
}

void nrc_notes_free(nrc_notes *notes) {
  if (notes == NULL) return;
  if (notes->shared != NULL) munmap(notes->shared, notes->bytes);
  if (notes->file >= 0) close(notes->file);
  free(notes);
}

int nrc_notes_file(const nrc_notes *notes) { return notes->file; }

// A writer that was killed between taking a place and filling it is waited for no longer than this.
static const uint64_t stuck_nanoseconds = 1000000000;

static bool is_stuck(nrc_notes *notes, bool is_last) {
  uint64_t now = nrc_monotonic_nanoseconds();
  if (notes->waits_since == 0) notes->waits_since = now;
  return is_last || now - notes->waits_since > stuck_nanoseconds;
}

bool nrc_notes_next(nrc_notes *notes, nrec_note *out, bool is_last) {
  nrec_notes *shared = notes->shared;
  while (shared != NULL) {
    uint64_t taken = __atomic_load_n(&shared->next, __ATOMIC_ACQUIRE) - notes->next;
    if (taken == 0 || taken > notes->count) return false;
    nrec_note *note = &shared->notes[notes->next % notes->count];
    uint32_t kind = __atomic_load_n(&note->kind, __ATOMIC_ACQUIRE);
    if (kind == NREC_NOTE_FREE && !is_stuck(notes, is_last)) return false;
    memcpy(out, note, sizeof *out);
    out->kind = kind;
    __atomic_store_n(&note->kind, NREC_NOTE_FREE, __ATOMIC_RELAXED);
    notes->next++;
    notes->waits_since = 0;
    __atomic_store_n(&shared->read, notes->next, __ATOMIC_RELEASE);
    if (kind != NREC_NOTE_FREE) return true;
  }
  return false;
}

uint64_t nrc_notes_lost(const nrc_notes *notes) {
  return notes->shared == NULL ? 0 : __atomic_load_n(&notes->shared->lost, __ATOMIC_RELAXED);
}
