// SPDX-License-Identifier: Apache-2.0
//
// What the agent keeps of the process:
//
//   nag_process_state   what a forked child must set up anew, in pages that it finds wiped
//   nag_config          what parent and child share: a fork copies it

#ifndef NAG_PROCESS_STATE_H
#define NAG_PROCESS_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "CRecordingABI.h"
#include "nrec_messages.h"
#include "nrec_notes.h"

typedef struct nag_process {
  _Atomic uint32_t lock;         ///< futex: 0 free, 1 held, 2 held and awaited
  _Atomic uint32_t orphans_lock; ///< see orphaned_returns.c
  int32_t id;                    ///< of the process that joined or gave up; 0: neither yet
  bool is_unanswered;            ///< the recorder did not answer in time: it is asked nothing more
  uint32_t place;                ///< in the arena
  nrec_file_header *header;      ///< there; NULL: no recorder, nothing is recorded
  uint8_t *mail;                 ///< the chunk of messages that is being filled; NULL: none is
  uint32_t mails;                ///< how many there were
  uint8_t *answers;              ///< those that were fetched and not read, linked; or NULL
  uint32_t next_serial;          ///< of threads
} nag_process;

typedef struct nag_shared {
  nrec_config config;
  const struct nag_tracer *tracer;  ///< the current row of tracer_table.h; NULL: there is none
  char socket_path[108];
  int32_t joined;               ///< the last process that joined: this one or its ancestor
  uint32_t image;               ///< its number
  struct nrec_arena *arena;     ///< NULL: there is none
  nrec_arena_layout layout;     ///< its own; of `chunks`, those that are mapped
  nrec_notes *notes;            ///< shared with the recorder; NULL: there are none
  uint64_t notes_count;
  /// Writes at most `room` of the loaded modules' generations, from place `*place` on, and moves it.
  /// Returns how many. NULL: no module was shown yet.
  uint32_t (*list_generations)(uint32_t *generations, uint32_t room, uint32_t *place);
  bool forbids_patching;        ///< a system call filter ends a program that patches
  bool forbids_reading;         ///< one ends a program that reads its memory by process_vm_readv(2)
  bool is_off;                  ///< an anomaly turned the tracer off for good: see modules.c
} nag_shared;

/// What came of the end of a recording in a process that runs on.
typedef struct nag_ending {
  uint32_t restored;       ///< sites
  uint32_t left;           ///< sites that are not what their files have
  uint32_t kept_returns;   ///< frames that still return to a trampoline, which stays
  int32_t error;           ///< of the first site that is left: an NPC_* status
  bool is_quiet;           ///< no thread is in code of ours
} nag_ending;

extern nag_process *nag_process_state;
extern nag_shared nag_config;

#endif
