// SPDX-License-Identifier: Apache-2.0
//
// A subscriber of the loader's hook that writes down what it is told.

#ifndef CTS_EVENTS_H
#define CTS_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CTS_OTHER_THREAD = 100 };

/// One entry: an NPC_LOADER_ event, or CTS_OTHER_THREAD when another thread got the patch lock.
typedef struct cts_event {
  int event;
  bool listed;  ///< the watched module was listed at that moment
} cts_event;

/// Subscribes; `build_id` is the watched module's. 0 or an errno.
int cts_events_start(const uint8_t *build_id, uint32_t length);
/// With this, at NPC_LOADER_DELETING another thread is told to take the patch lock, and is given
/// 50 ms to do so.
void cts_events_race(void);
/// Unsubscribes; copies what was written down and returns how much that is.
size_t cts_events_stop(cts_event *events, size_t capacity);

#endif
