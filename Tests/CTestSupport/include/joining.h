// SPDX-License-Identifier: Apache-2.0
//
// The agent's side of the arena, which tests hold in its place: processes that join, and what they
// say and are told there.

#ifndef CTS_JOINING_H
#define CTS_JOINING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "CRecordingABI.h"

/// Starts a child that sends `hello` to the recorder at `path`; -1: there is none. `control`: the
/// test's end of a socket to it.
pid_t cts_join(const char *path, const void *hello, size_t size, int *control);

/// The recorder's answer to the child, and its two descriptors: its length; 0: there was none.
ssize_t cts_joined(int control, void *answer, size_t size, int *descriptors);

/// Ends the child.
void cts_leave(pid_t process, int control);

/// An arena as an agent has it mapped; `shared` is NULL where that failed.
typedef struct cts_arena {
  nrec_arena *shared;
  nrec_arena_layout layout;
  uint64_t bytes;
} cts_arena;

cts_arena *cts_arena_map(int file);
void cts_arena_unmap(cts_arena *arena);

/// Hands over a chunk of messages with these contents. False: no chunk became free.
bool cts_arena_send(cts_arena *arena, uint32_t place, uint32_t number, const void *bytes,
                    size_t size);

/// Claims a place for a copy of image `copied`; -1: there is none. `is_unseen`: the recorder is not told
/// of it before the next claim.
int cts_arena_claim(cts_arena *arena, uint32_t copied, int32_t thread, uint64_t time, bool is_unseen,
                    uint32_t *image);

/// Makes a request for a snapshot, in this NREC_REQUEST_* state, and holds the rings.
void cts_arena_request(cts_arena *arena, uint32_t place, uint32_t function, uint32_t state);
bool cts_arena_is_held(const cts_arena *arena);

nrec_file_header *cts_arena_header(cts_arena *arena, uint32_t place);

/// The newest answer (nrec_answer), which is then free; its length, 0: there is none.
size_t cts_arena_answer(cts_arena *arena, uint32_t place, void *bytes, size_t size);

#endif
