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

enum { NAG_FREE_PLACES = 896 };

typedef struct nag_process {
  _Atomic uint32_t lock;         ///< futex: 0 free, 1 held, 2 held and awaited
  _Atomic uint32_t orphans_lock; ///< see orphaned_returns.c
  int32_t id;                    ///< of the process that joined or gave up; 0: neither yet
  int32_t socket, events;        ///< descriptors, or -1
  int32_t memory;                ///< the memory file, or -1
  bool is_unanswered;            ///< the recorder did not answer in time: it is asked nothing more
  uint64_t memory_bytes;         ///< how much of the memory file may be mapped
  nrec_file_header *header;      ///< NULL: no recorder, nothing is recorded
  uint32_t next_serial;          ///< of threads
  uint32_t next_place, free_places;
  uint32_t places[NAG_FREE_PLACES];  ///< parts of the memory file that ended threads have freed
} nag_process;

typedef struct nag_shared {
  nrec_config config;
  const struct nag_tracer *tracer;  ///< the current row of tracer_table.h; NULL: there is none
  char socket_path[108];
  int32_t joined;               ///< the last process that joined: this one or its ancestor
  int32_t descriptors[3];       ///< its socket and files; a forked child has them too
  nrec_notes *notes;            ///< shared with the recorder; NULL: there are none
  uint64_t notes_count;
  /// Writes at most `room` of the loaded modules' generations, from place `*place` on, and moves it.
  /// Returns how many. NULL: no module was shown yet.
  uint32_t (*list_generations)(uint32_t *generations, uint32_t room, uint32_t *place);
  bool is_off;                  ///< an anomaly turned the tracer off for good: see modules.c
} nag_shared;

extern nag_process *nag_process_state;
extern nag_shared nag_config;

#endif
