// SPDX-License-Identifier: Apache-2.0
//
// What belongs to one thread: its buffer, which is made at the first event, and what happens when
// the thread ends.

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

// Called when the thread ends: its chunk is closed, and its shadow stack is free for another
// thread. A function that is traced after this (in a later destructor, say) makes a new buffer.
static void ended(void *argument) {
  (void)argument;
  uint64_t signals = nag_block_signals();
  nag_buffer *buffer = nag_self.buffer;
  nag_self.buffer = NULL;
  if (buffer != NULL) {
    nag_thread_finish(buffer);
    NAG_CALL(SYS_munmap, buffer, nag_config.tracer->buffer_bytes);
  }
  nag_shadow_release();
  nag_restore_signals(signals);
}

static void arrange_end(void *argument) { pthread_setspecific(key, argument); }

void nag_thread_prepare(void) {
  const int64_t sequence = 8;  // struct rseq: its rseq_cs
  if (&__rseq_size != NULL && __rseq_size > 0) nag_rseq = __rseq_offset + sequence;
  uint32_t a = 0xd, b = 0, c = 0, d = 0;  // CPUID leaf 0DH: EBX is the XSAVE area's size as enabled
  __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
  vector_bytes = (b + 63) & ~63u;
  has_key = pthread_key_create(&key, ended) == 0;
}

nag_buffer *nag_thread_buffer(void) {
  nag_buffer *buffer = nag_self.buffer;
  nag_process *process = nag_process_state;
  if (!nag_is_joined() || nag_config.is_off) return NULL;
  if (buffer == NULL) {
    buffer = nag_wiped_pages(nag_config.tracer->buffer_bytes);
    if (buffer == NULL) return NULL;
    nag_self.buffer = buffer;
    if (has_key && vector_bytes >= 576) nag_with_vectors(arrange_end, buffer, vector_bytes);
  }
  if (buffer->thread == 0) {  // new, or wiped
    buffer->thread = nag_thread_id();
    buffer->serial = __atomic_add_fetch(&process->next_serial, 1, __ATOMIC_RELAXED);
  }
  return buffer;
}
