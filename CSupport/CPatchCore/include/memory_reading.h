// SPDX-License-Identifier: Apache-2.0
//
// Reading memory that may not be mapped: text can be unmapped or replaced while the loader still
// lists its module. There are two ways: load under the fault fix-up (faults.h), or first ask the
// kernel about each page.

#ifndef NPC_MEMORY_READING_H
#define NPC_MEMORY_READING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// Copies `length` bytes; false where they cannot be read. If the dispatcher would get a fault
/// (npc_faults_are_caught), it catches it. Otherwise the kernel is first asked about each page.
bool npc_read_memory(void *to, const void *from, size_t length);

/// Copies `length` bytes by ordinary loads, under the fix-up. False if a load faulted. Call it only
/// with the dispatcher installed: otherwise a fault goes to the program.
bool npc_read_fixed_up(void *destination, const void *source, size_t length);

/// Copies `length` bytes. Before it reads a page, it asks the kernel whether a load would fault.
bool npc_read_asking(void *to, const void *from, size_t length);

/// Whether the kernel reports that a load from the page of `address` would not fault.
bool npc_page_is_readable(uint64_t address);

#endif
