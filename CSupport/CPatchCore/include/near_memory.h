// SPDX-License-Identifier: Apache-2.0
//
// Memory for stubs: within reach of a module's calls.

#ifndef NPC_NEAR_MEMORY_H
#define NPC_NEAR_MEMORY_H

#include <stddef.h>
#include <stdint.h>

/// Maps `length` bytes, readable and writable, within 2 GiB of all of [low, high). Never replaces a
/// mapping. NULL with errno where there is no room.
void *npc_map_near(uint64_t low, uint64_t high, size_t length);

#endif
