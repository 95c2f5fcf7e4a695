// SPDX-License-Identifier: Apache-2.0
//
// The file `switches` of a recording: when threads left the CPU and came back. A header, then a record
// for each switch, as the CPUs' rings had them: in the order of time for each CPU only.

#ifndef NREC_SWITCHES_H
#define NREC_SWITCHES_H

#include <stdint.h>

#define NREC_SWITCHES_MAGIC 0x3154575350434f4eull  // "NOPSCWT1"

/// 48 bytes. Two moments in both clocks tell the time stamp counter's value at any other.
typedef struct nrec_switches_header {
  uint64_t magic;
  uint64_t first_ticks, first_nanoseconds;  ///< time stamp counter, CLOCK_MONOTONIC_RAW
  uint64_t last_ticks, last_nanoseconds;    ///< when records were written last
  uint64_t lost;                            ///< switches that found no room
} nrec_switches_header;

/// 16 bytes.
typedef struct nrec_switch {
  uint64_t nanoseconds;  ///< CLOCK_MONOTONIC_RAW
  uint32_t thread;       ///< kernel thread id
  uint32_t kind;         ///< NREC_SWITCH_*
} nrec_switch;

enum {
  NREC_SWITCH_IN,         ///< it runs again
  NREC_SWITCH_OUT,        ///< it waits
  NREC_SWITCH_PREEMPTED,  ///< it could run, and another does
};

#endif
