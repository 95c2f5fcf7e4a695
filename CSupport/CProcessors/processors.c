// SPDX-License-Identifier: Apache-2.0

#define _GNU_SOURCE

#include <sched.h>

#include "nproc.h"

unsigned nproc_usable(void) {
  cpu_set_t set;
  // It fails where the machine has more CPUs than the set has room for: 1024.
  if (sched_getaffinity(0, sizeof set, &set) != 0) return CPU_SETSIZE;
  int count = CPU_COUNT(&set);
  return count > 0 ? (unsigned)count : 1;
}
