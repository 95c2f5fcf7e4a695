// SPDX-License-Identifier: Apache-2.0
//
// What the agent does without system calls in a program that forbids itself those that the agent
// makes (seccomp.c notices that before):
//
//   memory                  comes from pools that were mapped before
//   signals                 are not blocked: see nag_hold

#include "agent.h"
#include "syscalls.h"

enum { POOL_BYTES = 256 << 20, WIPED_BYTES = 64 << 20 };

bool nag_is_confined;

typedef struct pool {
  uint8_t *start;
  uint64_t bytes, used;
} pool;

static pool plain, wiped;

static void *take(pool *from, uint64_t bytes) {
  uint64_t at = __atomic_fetch_add(&from->used, nag_whole_pages(bytes), __ATOMIC_RELAXED);
  bool fits = from->start != NULL && at <= from->bytes && nag_whole_pages(bytes) <= from->bytes - at;
  return fits ? from->start + at : NULL;
}

void *nag_pages(uint64_t bytes) {
  if (nag_is_confined) return take(&plain, bytes);
  return nag_mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void wipe_on_fork(void *memory, uint64_t bytes) {
  NAG_CALL(SYS_madvise, memory, bytes, 18 /* MADV_WIPEONFORK */);
}

void *nag_wiped_pages(uint64_t bytes) {
  if (nag_is_confined) return take(&wiped, bytes);
  void *memory = nag_pages(bytes);
  if (memory != NULL) wipe_on_fork(memory, bytes);
  return memory;
}

void nag_unmap(const void *memory, uint64_t bytes) {
  if (!nag_is_confined) NAG_CALL(SYS_munmap, memory, bytes);
}

static pool reserve(uint64_t bytes) {
  uint8_t *start = nag_mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return (pool){start, start == NULL ? 0 : bytes, 0};
}

void nag_confine(void) {
  plain = reserve(POOL_BYTES);
  wiped = reserve(WIPED_BYTES);
  if (wiped.start != NULL) wipe_on_fork(wiped.start, WIPED_BYTES);
  nag_is_confined = true;
}

// --- instead of blocking signals ----------------------------------------------------------------

// The thread's chunk is hidden from the handlers in assembly: a signal handler's traced calls then
// take the slow path, find that it is busy, and are counted as lost.
void nag_hold(void) {
  if (nag_self.holds++ > 0) return;
  nag_buffer *buffer = nag_self.buffer;
  if (buffer == NULL) return;
  *(uint8_t *volatile *)&nag_self.chunk = buffer->chunk;
  *(uint8_t *volatile *)&buffer->chunk = NULL;
}

void nag_release(void) {
  if (nag_self.holds > 1) {
    nag_self.holds--;
    return;
  }
  nag_buffer *buffer = nag_self.buffer;
  if (buffer != NULL && nag_self.chunk != NULL) *(uint8_t *volatile *)&buffer->chunk = nag_self.chunk;
  *(uint8_t *volatile *)&nag_self.chunk = NULL;
  *(volatile uint32_t *)&nag_self.holds = 0;
}
