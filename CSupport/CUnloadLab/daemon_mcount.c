// SPDX-License-Identifier: Apache-2.0
//
// The C side of mcount: counts calls, and knows which threads are inside the recorder.
//
// A kernel disables preemption while it is in the recorder, so that stop_machine and a grace period
// both know that no CPU is there. Here each call counts itself in and out of one of two phases. To
// wait for readers, the engine turns the phase and waits until as many have left the old one as
// entered it. The counts are spread over cache lines by thread.

#include <time.h>

#include "daemon_internal.h"

enum { SHARDS = 64 };

typedef struct shard {
  _Atomic uint64_t entered[2], left[2];
  _Atomic uint64_t traced;
} __attribute__((aligned(64))) shard;

static shard shards[SHARDS];
static _Atomic uint32_t phase, next_shard;
static _Atomic uint64_t last_traced, calls_base, traced_base;

NUL_HIDDEN int32_t nul_mcount_mode;

// Initial-exec: no call of __tls_get_addr, which may allocate.
static __thread __attribute__((tls_model("initial-exec"))) struct {
  uint32_t shard;      // its index + 1; 0: not chosen
  uint32_t recursion;  // of the recorder
} thread;

static shard *own_shard(void) {
  if (thread.shard == 0) thread.shard = atomic_fetch_add(&next_shard, 1) % SHARDS + 1;
  return &shards[thread.shard - 1];
}

void nul_recursion_enter(void) {
  thread.recursion++;
  atomic_signal_fence(memory_order_seq_cst);
}

void nul_recursion_leave(void) {
  atomic_signal_fence(memory_order_seq_cst);
  thread.recursion--;
}

void nul_mcount_hit(uint64_t ip) {
  shard *own = own_shard();
  uint32_t mine = atomic_load(&phase) & 1;
  atomic_fetch_add(&own->entered[mine], 1);
  // Check again: the engine may have gone since mcount checked, and it waits for the threads
  // counted in.
  if (__atomic_load_n(&nul_mcount_mode, __ATOMIC_SEQ_CST) == NUL_MCOUNT_RECORD) {
    if (thread.recursion == 0) {
      nul_recursion_enter();
      nul_record_ip(ip);
      nul_recursion_leave();
    } else {
      atomic_fetch_add_explicit(&nul.recursions, 1, memory_order_relaxed);
    }
  }
  atomic_fetch_add(&own->left[mine], 1);
}

void nul_traced_hit(uint64_t ip) {
  atomic_fetch_add_explicit(&own_shard()->traced, 1, memory_order_relaxed);
  atomic_store_explicit(&last_traced, ip, memory_order_relaxed);
}

uint64_t nul_last_traced(void) { return atomic_load(&last_traced); }

// Sums up who left first: a reader that comes and goes between the two sums is then only counted
// in.
static bool phase_is_empty(uint32_t which) {
  uint64_t entered = 0, left = 0;
  for (int i = 0; i < SHARDS; i++) left += atomic_load(&shards[i].left[which]);
  for (int i = 0; i < SHARDS; i++) entered += atomic_load(&shards[i].entered[which]);
  return entered == left;
}

static uint64_t milliseconds_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

// Turns through both phases: a reader that read the phase before the turn may be counted in after
// it. False: a reader stayed inside for `milliseconds` (a stopped thread, or a dead one after a
// fork).
bool nul_readers_wait(uint32_t milliseconds) {
  uint64_t deadline = milliseconds_now() + milliseconds;
  for (int turn = 0; turn < 2; turn++) {
    uint32_t old = atomic_fetch_add(&phase, 1) & 1;
    for (unsigned round = 0; !phase_is_empty(old); round++) {
      if (milliseconds_now() > deadline) return false;
      nul_spin_pause(round);
    }
  }
  return true;
}

void nul_mcount_set_mode(int32_t mode) {
  __atomic_store_n(&nul_mcount_mode, mode, __ATOMIC_SEQ_CST);
}

int32_t nul_mcount_mode_now(void) { return __atomic_load_n(&nul_mcount_mode, __ATOMIC_SEQ_CST); }

static uint64_t calls_sum(void) {
  uint64_t sum = 0;
  for (int i = 0; i < SHARDS; i++)
    sum += atomic_load(&shards[i].entered[0]) + atomic_load(&shards[i].entered[1]);
  return sum;
}

static uint64_t traced_sum(void) {
  uint64_t sum = 0;
  for (int i = 0; i < SHARDS; i++) sum += atomic_load(&shards[i].traced);
  return sum;
}

uint64_t nul_mcount_calls(void) { return calls_sum() - atomic_load(&calls_base); }

uint64_t nul_traced_calls(void) { return traced_sum() - atomic_load(&traced_base); }

// The counts themselves only grow: they are also how readers are told apart.
void nul_counts_clear(void) {
  atomic_store(&calls_base, calls_sum());
  atomic_store(&traced_base, traced_sum());
  atomic_store(&last_traced, 0);
}
