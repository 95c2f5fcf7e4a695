// SPDX-License-Identifier: Apache-2.0
//
// The functions that a compiler calls to copy, clear or compare a struct. libc's versions use
// vector registers, which hold an entry's arguments. The agent links to these instead; they are
// hidden from other libraries.

#include <stddef.h>

#include "syscalls.h"

void *memcpy(void *restrict to, const void *restrict from, size_t bytes) {
  nag_copy(to, from, bytes);
  return to;
}

void *memmove(void *to, const void *from, size_t bytes) {
  uint8_t *target = to;
  const uint8_t *source = from;
  if (target - source >= (ptrdiff_t)bytes || target <= source) nag_copy(to, from, bytes);
  else
    while (bytes-- > 0) *(volatile uint8_t *)(target + bytes) = source[bytes];
  return to;
}

void *memset(void *to, int byte, size_t bytes) {
  void *at = to;
  __asm__ volatile("rep stosb" : "+D"(at), "+c"(bytes) : "a"(byte) : "memory");
  return to;
}

int memcmp(const void *left, const void *right, size_t bytes) {
  const volatile uint8_t *one = left, *other = right;
  for (size_t i = 0; i < bytes; i++)
    if (one[i] != other[i]) return one[i] - other[i];
  return 0;
}

int bcmp(const void *left, const void *right, size_t bytes) { return memcmp(left, right, bytes); }
