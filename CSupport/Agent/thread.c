// SPDX-License-Identifier: Apache-2.0
//
// What belongs to one thread: its buffer, which is made at the first event, and what happens when
// the thread ends.

#include <limits.h>
#include <pthread.h>

#include "agent.h"
#include "syscalls.h"

// glibc defines it since 2.35. It is weak, so that the agent also loads with an older glibc.
extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned int __rseq_size __attribute__((weak));

static pthread_key_t key;
static bool has_key;
static uint64_t vector_bytes;

void nag_thread_finish(nag_buffer *buffer) {
  if (buffer->thread == 0) return;  // wiped: a forked child that recorded nothing
  uint64_t calls = nag_config.tracer->finish(buffer);
  // This sum in the header lets readers skip the counters. Tracers that write events leave it at 0.
  __atomic_add_fetch(&nag_process_state->header->calls, calls, __ATOMIC_RELAXED);
}

static void end_recording(void) {
  nag_buffer *buffer = nag_self.buffer;
  nag_self.buffer = NULL;
  if (buffer != NULL) {
    nag_thread_finish(buffer);
    nag_unmap(buffer, nag_config.tracer->buffer_bytes);
  }
  nag_shadow_release();
}

uint32_t nag_thread_end(nag_tls *self) {
  nag_buffer *buffer = self->buffer;
  if (buffer != NULL) {
    nag_thread_finish(buffer);
    nag_unmap(buffer, nag_config.tracer->buffer_bytes);
  }
  uint32_t kept = nag_shadow_give_back(self);
  __builtin_memset(self, 0, sizeof *self);
  return kept;
}

// Called when the thread ends. libc calls the destructors of thread-specific data in rounds, as long
// as there are new data. What others of them call belongs to the thread too, so this one waits for
// the last round. (Its key was the first of the process, so it is called first in each round.) A
// function that is traced after it makes a new buffer.
static void ended(void *argument) {
  if (++nag_self.end_rounds < PTHREAD_DESTRUCTOR_ITERATIONS &&
      pthread_setspecific(key, argument) == 0)
    return;
  uint64_t signals = nag_block_signals();
  nag_shadow_end();
  end_recording();
  nag_restore_signals(signals);
}

static void arrange_end(void *argument) { pthread_setspecific(key, argument); }

void nag_thread_prepare(void) {
  const int64_t sequence = 8;  // struct rseq: its rseq_cs
  if (&__rseq_size != NULL && __rseq_size > 0) nag_rseq = __rseq_offset + sequence;
  uint32_t a = 0xd, b = 0, c = 0, d = 0;  // CPUID leaf 0DH: EBX is the XSAVE area's size as enabled
  __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
  vector_bytes = (b + 63) & ~63u;
  nag_thread_id_prepare();
  has_key = pthread_key_create(&key, ended) == 0;
}

// Makes the thread's buffer and fills it, or fills it anew in a forked child, which finds it wiped.
static void begin(void *unused) {
  (void)unused;
  nag_process *process = nag_process_state;
  if (!nag_is_joined()) return;
  nag_buffer *buffer = nag_self.buffer;
  if (buffer == NULL) {
    buffer = nag_wiped_pages(nag_config.tracer->buffer_bytes);
    if (buffer == NULL) return;
    nag_self.buffer = buffer;
    if (has_key && vector_bytes >= 576) nag_with_vectors(arrange_end, buffer, vector_bytes);
  }
  if (buffer->thread != 0) return;
  buffer->thread = nag_self.thread = nag_own_thread_id();
  buffer->serial = __atomic_add_fetch(&process->next_serial, 1, __ATOMIC_RELAXED);
}

nag_buffer *nag_thread_buffer(void) {
  if (nag_config.is_off) return NULL;
  // Or a signal has interrupted a slow path of a confined thread.
  if (nag_self.is_over || nag_self.holds > 1) {
    nag_lose(1);
    return NULL;
  }
  bool is_begun = nag_self.buffer != NULL && nag_self.buffer->thread != 0;
  if (!is_begun && !nag_on_scratch_stack(begin, NULL)) return NULL;
  return nag_process_state->header != NULL ? nag_self.buffer : NULL;
}

// The shadow stack is given up, so that each open function's return finds its address among the
// orphaned returns: two processes must not change one shadow stack.
void nag_thread_leave(uint32_t flag) {
  nag_process *process = nag_process_state;
  if (process == NULL || process->header == NULL || nag_self.is_over) return;
  uint64_t signals = nag_block_signals();
  end_recording();
  nag_self.is_over = true;
  nag_self.refused = 1;
  nag_mark(flag);
  nag_restore_signals(signals);
}
