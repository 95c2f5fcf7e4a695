// SPDX-License-Identifier: Apache-2.0
//
// This process's end of a stop that another one makes (outside.h).

#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"
#include "outside.h"

static npc_outside *table;

void npc_stop_from_outside(npc_outside *one) { table = one; }
bool npc_outside_is_used(void) { return table != NULL; }

// The tracer may be gone: the wait has a bound. A stop that it could not make is let go by its end,
// which the kernel does for a tracer that has died.
static bool ask(uint32_t milliseconds) {
  const struct timespec pause = {0, 20000};
  struct timespec begin, now;
  clock_gettime(CLOCK_MONOTONIC, &begin);
  table->asking = (uint32_t)syscall(SYS_gettid);
  uint32_t asked = __atomic_add_fetch(&table->asked, 1, __ATOMIC_SEQ_CST);
  while (__atomic_load_n(&table->answered, __ATOMIC_ACQUIRE) != asked) {
    nanosleep(&pause, NULL);
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t spent = (now.tv_sec - begin.tv_sec) * 1000 + (now.tv_nsec - begin.tv_nsec) / 1000000;
    if (spent > (int64_t)milliseconds) return false;
  }
  return true;
}

bool npc_outside_stop(const npc_stop_request *request, npc_stop_report *report) {
  uint32_t milliseconds = request->timeout_milliseconds ? request->timeout_milliseconds : 1000;
  *report = (npc_stop_report){0};
  // The tracer gives up by itself after that time, and says so.
  if (!ask(milliseconds + 1000)) {
    report->error = ETIMEDOUT;
    return false;
  }
  report->error = table->error, report->thread = table->thread;
  if (table->error != 0) return false;
  return npc_outside_settle(report);
}

bool npc_outside_settle(npc_stop_report *report) {
  report->stopped = report->asleep = 0;
  for (uint32_t i = 0; i < table->count; i++) {
    report->asleep += table->threads[i].is_asleep != 0;
    report->stopped += table->threads[i].is_asleep == 0;
  }
  return true;
}

void npc_outside_resume(void) { ask(1000); }

void npc_outside_each(bool (*visit)(const npc_stopped *thread, void *context), void *context) {
  for (uint32_t i = 0; i < table->count; i++) {
    npc_outside_thread *one = &table->threads[i];
    npc_stopped stopped = {.thread = one->thread, .sp = one->sp,
                           .thread_pointer = one->thread_pointer};
    if (!one->is_asleep) stopped.pc = &one->pc;
    if (!visit(&stopped, context)) return;
  }
}

int32_t npc_outside_find_vfork(void) {
  for (uint32_t i = 0; i < table->count; i++) {
    int64_t number = table->threads[i].system_call;
    if (table->threads[i].is_asleep &&
        (number == SYS_vfork || number == SYS_clone || number == SYS_clone3))
      return table->threads[i].thread;
  }
  return 0;
}
