// SPDX-License-Identifier: Apache-2.0
//
// Memory near a module: just below it, where the loader maps the next one and so mostly nothing is;
// else the nearest hole in this process's address space, as /proc/self/maps shows it, or by trial
// where /proc is not mounted. The kernel needs longer for that file the more is mapped, so a program
// that loads a thousand libraries would wait for it longer each time.

#define _GNU_SOURCE
#include "near_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <unistd.h>

static uint64_t round_up(uint64_t value) { return (value + 4095) & ~(uint64_t)4095; }

// Reads one line of /proc/self/maps from `file`; only the two addresses are used.
typedef struct { int file; char buffer[4096]; ssize_t length, at; } maps_reader;

static int next_byte(maps_reader *reader) {
  if (reader->at == reader->length) {
    reader->length = read(reader->file, reader->buffer, sizeof reader->buffer);
    reader->at = 0;
    if (reader->length <= 0) return -1;
  }
  return (unsigned char)reader->buffer[reader->at++];
}

static bool next_mapping(maps_reader *reader, uint64_t *start, uint64_t *end) {
  uint64_t *field = start;
  *start = *end = 0;
  int byte;
  while ((byte = next_byte(reader)) >= 0 && byte != ' ') {
    if (byte == '-') field = end;
    else *field = *field << 4 | (uint64_t)(byte <= '9' ? byte - '0' : byte - 'a' + 10);
  }
  while (byte >= 0 && byte != '\n') byte = next_byte(reader);
  return byte >= 0;
}

// The hole nearest to the module from which a 32-bit displacement reaches all of the module.
static uint64_t find_hole(uint64_t low, uint64_t high, uint64_t length) {
  const uint64_t reach = 0x7ff00000;
  uint64_t floor = high > reach ? high - reach : 0x10000, ceiling = low + reach;
  uint64_t best = 0, best_distance = UINT64_MAX, start, end, previous = 0x10000;
  maps_reader reader = {.file = open("/proc/self/maps", O_RDONLY | O_CLOEXEC)};
  if (reader.file < 0) return 0;
  while (next_mapping(&reader, &start, &end)) {
    uint64_t from = previous > floor ? previous : floor, to = start < ceiling ? start : ceiling;
    if (to > from && to - from >= length) {
      uint64_t candidate = to <= low ? to - length : from;
      uint64_t distance = candidate < low ? low - candidate : candidate - low;
      if (distance < best_distance) best = candidate, best_distance = distance;
    }
    previous = end;
  }
  close(reader.file);
  return best;
}

static void *map_at(uint64_t address, size_t length) {
  return mmap((void *)address, length, PROT_READ | PROT_WRITE,
              MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
}

// Used where /proc is not mounted: tries one place after the other, in growing steps.
static void *map_by_trial(uint64_t low, uint64_t high, size_t length) {
  const uint64_t reach = 0x7ff00000, step = 1 << 16, lowest = 1 << 16;
  low &= ~(uint64_t)4095;
  high = round_up(high);
  for (uint64_t distance = 0; high - low + distance + length < reach;
       distance += round_up(distance / 16) + step) {
    void *memory = MAP_FAILED;
    if (low > lowest + distance + length) memory = map_at(low - distance - length, length);
    if (memory == MAP_FAILED) memory = map_at(high + distance, length);
    if (memory != MAP_FAILED) return memory;
  }
  errno = ENOMEM;
  return NULL;
}

// A few places below, in growing steps: what is loaded with a module, such as a library that it
// needs, is mapped below it too.
static void *map_below(uint64_t low, uint64_t high, size_t length) {
  enum { TRIALS = 24 };
  const uint64_t reach = 0x7ff00000, lowest = 1 << 16;
  uint64_t distance = 0;
  low &= ~(uint64_t)4095;
  for (int i = 0; i < TRIALS; i++) {
    uint64_t below = distance + length;
    if (low < lowest + below || high - low + below >= reach) return NULL;
    void *memory = map_at(low - below, length);
    if (memory != MAP_FAILED) return memory;
    distance += round_up(distance / 4) + (1 << 14);
  }
  return NULL;
}

void *npc_map_near(uint64_t low, uint64_t high, size_t length) {
  length = round_up(length);
  void *near = map_below(low, high, length);
  if (near != NULL) return near;
  if (access("/proc/self/maps", R_OK) != 0) return map_by_trial(low, high, length);
  for (int attempt = 0; attempt < 16; attempt++) {
    uint64_t hole = find_hole(low, high, length);
    if (hole == 0) break;
    void *memory = map_at(hole, length);
    if (memory != MAP_FAILED) return memory;
    if (errno != EEXIST) return NULL;  // EEXIST: another thread has taken the hole
  }
  errno = ENOMEM;
  return NULL;
}
