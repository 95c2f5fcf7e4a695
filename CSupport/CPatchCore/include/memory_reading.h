// SPDX-License-Identifier: Apache-2.0
//
// Reading memory that may not be there: text can be unmapped or covered while the loader still
// lists its module. Two ways: load under the fault fix-up (faults.h), or ask the kernel for each
// page first.

#ifndef NPC_MEMORY_READING_H
#define NPC_MEMORY_READING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// Copies `length` bytes; false where they cannot be read. With the dispatcher a fault is caught,
/// without it the kernel is asked for each page first.
bool npc_read_memory(void *to, const void *from, size_t length);

/// Copies `length` bytes by ordinary loads, under the fix-up. False if a load faulted. Only with
/// the dispatcher installed: without it a fault is the program's.
bool npc_read_fixed_up(void *destination, const void *source, size_t length);

/// Copies `length` bytes of which the kernel said, page by page, that a load would not fault.
bool npc_read_asking(void *to, const void *from, size_t length);

/// Whether a load from the page of `address` would not fault, as the kernel says it.
bool npc_page_is_readable(uint64_t address);

#endif
