// SPDX-License-Identifier: Apache-2.0
//
// When the threads of the program leave the CPU and come back: perf_event_open(2) of the dummy event
// with context_switch, which an ordinary user may have of his own processes
// (/proc/sys/kernel/perf_event_paranoid up to 2). It is opened for the recorder's own thread before
// the program is started, and everything that is started by that thread inherits it. There is a ring
// for each CPU.

#define _GNU_SOURCE
#include "CRecorder.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, MOST_PAGES = 64, LEAST_PAGES = 4 };

typedef struct ring {
  int descriptor;
  struct perf_event_mmap_page *page;
  uint64_t bytes;  // of its records, a power of two
} ring;

struct nrc_switches {
  int count;
  pid_t own;
  ring rings[];
};

static int open_ring(ring *ring, int cpu, uint32_t pages) {
  struct perf_event_attr attributes = {
    .size = sizeof attributes, .type = PERF_TYPE_SOFTWARE, .config = PERF_COUNT_SW_DUMMY,
    .sample_type = PERF_SAMPLE_TID | PERF_SAMPLE_TIME, .sample_id_all = 1, .context_switch = 1,
    .inherit = 1, .exclude_kernel = 1, .exclude_hv = 1, .use_clockid = 1,
    .clockid = CLOCK_MONOTONIC_RAW, .watermark = 1, .wakeup_watermark = pages * PAGE / 2,
  };
  ring->descriptor =
      (int)syscall(SYS_perf_event_open, &attributes, 0, cpu, -1, PERF_FLAG_FD_CLOEXEC);
  if (ring->descriptor < 0) return errno;
  ring->bytes = (uint64_t)pages * PAGE;
  void *memory = mmap(NULL, PAGE + ring->bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
                      ring->descriptor, 0);
  if (memory != MAP_FAILED) {
    ring->page = memory;
    return 0;
  }
  int error = errno;
  close(ring->descriptor);
  return error;
}

void nrc_switches_close(nrc_switches *all) {
  for (int i = 0; i < all->count; i++) {
    if (all->rings[i].page == NULL) continue;
    munmap(all->rings[i].page, PAGE + all->rings[i].bytes);
    close(all->rings[i].descriptor);
  }
  free(all);
}

nrc_switches *nrc_switches_open(int *error) {
  long cpus = sysconf(_SC_NPROCESSORS_CONF);
  int count = cpus < 1 ? 1 : (int)cpus, opened = 0;
  nrc_switches *all = calloc(1, sizeof *all + (size_t)count * sizeof *all->rings);
  if (all == NULL) {
    *error = ENOMEM;
    return NULL;
  }
  all->count = count;
  all->own = getpid();
  for (int i = 0; i < count; i++) {
    *error = EPERM;
    // The memory that an ordinary user may have locked is limited: fewer pages may do.
    for (uint32_t pages = MOST_PAGES; pages >= LEAST_PAGES; pages /= 4) {
      *error = open_ring(&all->rings[i], i, pages);
      if (*error != EPERM && *error != ENOMEM && *error != EAGAIN) break;
    }
    if (*error == 0) opened++;
    else if (*error != ENODEV && *error != ENXIO) break;  // a CPU that is off has no ring
  }
  if (*error == ENODEV || *error == ENXIO) *error = opened > 0 ? 0 : *error;
  if (*error == 0) return all;
  nrc_switches_close(all);
  return NULL;
}

int nrc_switches_count(const nrc_switches *all) { return all->count; }

int nrc_switches_descriptor(const nrc_switches *all, int ring) {
  return all->rings[ring].page == NULL ? -1 : all->rings[ring].descriptor;
}

// The record may go around the ring's end.
static void copy_out(const ring *ring, uint64_t at, void *to, size_t bytes) {
  const uint8_t *data = (const uint8_t *)ring->page + PAGE;
  for (size_t i = 0; i < bytes; i++) ((uint8_t *)to)[i] = data[(at + i) & (ring->bytes - 1)];
}

typedef struct record {
  struct perf_event_header header;
  // PERF_RECORD_SWITCH has only what sample_id_all adds; PERF_RECORD_LOST has two words before it.
  union {
    struct { uint32_t process, thread; uint64_t time; } sample;
    struct { uint64_t id, lost; } lost;
  };
} record;

size_t nrc_switches_read(nrc_switches *all, int index, nrec_switch *into, size_t most,
                         uint64_t *lost) {
  ring *ring = &all->rings[index];
  if (ring->page == NULL) return 0;
  uint64_t head = __atomic_load_n(&ring->page->data_head, __ATOMIC_ACQUIRE);
  uint64_t tail = ring->page->data_tail;
  size_t count = 0;
  while (tail < head && count < most) {
    record one = {0};
    copy_out(ring, tail, &one.header, sizeof one.header);
    if (one.header.size < sizeof one.header || one.header.size > head - tail) {
      tail = head;  // not a record: nothing behind it can be found
      break;
    }
    size_t size = one.header.size < sizeof one ? one.header.size : sizeof one;
    copy_out(ring, tail, &one, size);
    tail += one.header.size;
    if (one.header.type == PERF_RECORD_LOST && size == sizeof one) *lost += one.lost.lost;
    if (one.header.type != PERF_RECORD_SWITCH || size < sizeof one) continue;
    if ((pid_t)one.sample.process == all->own || one.sample.thread == 0) continue;
    uint32_t kind = one.header.misc & PERF_RECORD_MISC_SWITCH_OUT
                        ? (one.header.misc & PERF_RECORD_MISC_SWITCH_OUT_PREEMPT ? NREC_SWITCH_PREEMPTED
                                                                                  : NREC_SWITCH_OUT)
                        : NREC_SWITCH_IN;
    into[count++] = (nrec_switch){one.sample.time, one.sample.thread, kind};
  }
  __atomic_store_n(&ring->page->data_tail, tail, __ATOMIC_RELEASE);
  return count;
}

void nrc_switches_now(uint64_t *ticks, uint64_t *nanoseconds) {
  uint64_t narrowest = UINT64_MAX;
  for (int i = 0; i < 5; i++) {
    uint64_t before = nrc_ticks();
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC_RAW, &time);
    uint64_t width = nrc_ticks() - before;
    if (width >= narrowest) continue;
    narrowest = width;
    *ticks = before + width / 2;
    *nanoseconds = (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
  }
}
