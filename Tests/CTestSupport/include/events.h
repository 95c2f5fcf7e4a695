// SPDX-License-Identifier: Apache-2.0
//
// A subscriber of the loader's hook that keeps every event it receives.

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
/// From now on, at NPC_LOADER_DELETING the subscriber lets another thread try to take the patch
/// lock, and waits 50 ms.
void cts_events_race(void);
/// Unsubscribes, copies the events and returns how many there are.
size_t cts_events_stop(cts_event *events, size_t capacity);

#endif
