// SPDX-License-Identifier: Apache-2.0
//
// The module that is loaded where libSpecimen.so was. The loader puts it there only if it has the
// same span in pages; the page-aligned functions make sure of that. SpecimenTests compares the
// spans, and the bytes at each of libSpecimen.so's call sites.

#include "other.h"

int other_multiply(int a, int b) { return a * b; }

// FNV-1a.
uint64_t other_hash(const char *text) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (; *text; text++) hash = (hash ^ (uint8_t)*text) * 0x100000001b3u;
  return hash;
}

uint64_t other_factorial(unsigned n) { return n < 2 ? 1 : n * other_factorial(n - 1); }

#define PAGE __attribute__((section(".text.pages"), aligned(4096)))
PAGE void other_page_one(void) {}
PAGE void other_page_two(void) {}
