// SPDX-License-Identifier: Apache-2.0
//
// What the two files of the recorder's end of the arena share. Everything in it but the table's own
// words is changed under `lock`.

#ifndef NRC_ARENA_INTERNAL_H
#define NRC_ARENA_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "CRecorder.h"
#include "CRecordingABI.h"

// A message or a claim that waits for the recorder.
typedef struct waiting {
  struct waiting *next;
  uint32_t place, sequence;
  nrc_arena_event event;
  uint8_t bytes[];
} waiting;

// A process of the recording.
typedef struct image {
  bool is_used, is_begun, is_changed, is_full;
  bool is_claimed;        // the recorder was told of the claim, and has not made a file yet
  uint32_t next_mail;     // the number of the next chunk of messages
  waiting *later;         // those that came before their turn
  uint32_t incarnation;
  int32_t process, parent;
  uint64_t start_realtime;
  int events;
  int error;              // errno of the first chunk that could not be written; 0: none
  uint64_t end;           // of its event file
  uint64_t lost_chunks;
} image;

struct nrc_arena {
  nrec_arena *shared;     // NULL: there is no room for one
  nrec_arena_layout layout;
  int file;
  uint32_t chunk_count, most_chunks, place_count;
  uint32_t spare;         // chunks that are to be free
  pthread_mutex_t lock;   // of what follows, and of the table
  pthread_t writer;
  bool is_ending;
  bool has_rings;         // the flight recorder: chunks of events stay while the rings are held
  uint32_t seen_claims;
  uint32_t seen_gate;
  uint32_t postponed;     // how often the next claim was left for later
  int wakes;              // eventfd: something waits
  bool has_news;          // something waits, and the recorder has not been woken for it
  waiting *first, **last; // what waits
  uint32_t place_end;     // no place behind it is used
  image images[NREC_ARENA_PROCESSES];
};

typedef struct swept {
  uint32_t free, freed;
} swept;

/// Writes to a file, wholly. 0, or an errno.
int nrc_arena_put(int file, const void *bytes, size_t size, uint64_t offset);
/// Writes the file's header, as the agent has filled it by now. Its page is there already.
void nrc_arena_put_header(nrc_arena *arena, uint32_t place);
void nrc_arena_set_free(nrc_arena *arena, uint32_t index);
/// Lets the recorder know that the gate has changed, or that rings are held.
void nrc_arena_find_gate(nrc_arena *arena);
/// Lets the recorder know of new claims.
void nrc_arena_find_claims(nrc_arena *arena);
/// Takes over what is full; of a process that has ended, `leaving`, everything. -1: of none.
swept nrc_arena_sweep(nrc_arena *arena, int64_t leaving);

#endif
