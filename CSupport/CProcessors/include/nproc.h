// SPDX-License-Identifier: Apache-2.0
//
// How many processors this process may use. Swift's Glibc module does not show sched_getaffinity(2), which
// needs _GNU_SOURCE.

#ifndef NPROC_H
#define NPROC_H

// At least 1. taskset(1) and a container's set of CPUs count; a quota of CPU time does not.
unsigned nproc_usable(void);

#endif
