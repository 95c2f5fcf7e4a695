// SPDX-License-Identifier: Apache-2.0
//
// stop-machine among threads in every state.
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <unistd.h>

#include "check.h"
#include "checks.h"
#include "specimen.h"
#include "threads.h"

static bool stop(npc_stop_request request, npc_stop_report *report) {
  npc_patch_lock();
  bool stopped = npc_stop_threads(&request, report);
  if (stopped) {
    CHECK(npc_sync_cores() == 0);
    npc_resume_threads();
  }
  npc_patch_unlock();
  return stopped;
}

void check_stop(void) {
  CHECK(npc_patch_prepare() == 0);
  static const int kinds[] = {CTS_SPINS, CTS_POLLS, CTS_WAITS, CTS_SLEEPS_BLOCKING, CTS_SPINS};
  enum { THREADS = sizeof kinds / sizeof kinds[0] };
  cts_thread *threads[THREADS];
  for (int i = 0; i < THREADS; i++) threads[i] = cts_thread_start(kinds[i]);
  npc_stop_report report;
  // Enough time for the sanitizer's own thread, too.
  for (int i = 0; i < 20; i++) {
    CHECK(stop((npc_stop_request){.timeout_milliseconds = 5000}, &report));
    CHECK(report.stopped >= 2 && report.asleep >= 3);
  }
  CHECK(stop((npc_stop_request){.timeout_milliseconds = 5000, .wake_sleepers = true}, &report));
  CHECK(report.stopped >= 4);
  for (int i = 0; i < THREADS; i++) cts_thread_stop(threads[i]);
}

// A thread blocks every signal: the stop fails, the error names the thread, and no thread stays
// stopped.
void check_stop_is_bounded(void) {
  cts_thread *blocking = cts_thread_start(CTS_SPINS_BLOCKING), *other = cts_thread_start(CTS_SPINS);
  npc_stop_report report;
  CHECK(!stop((npc_stop_request){.timeout_milliseconds = 100}, &report));
  CHECK(report.thread == cts_thread_id(blocking));
  cts_thread_unblock(blocking);
  CHECK(stop((npc_stop_request){.timeout_milliseconds = 5000}, &report));
  cts_thread_stop(other);
  cts_thread_stop(blocking);
}

void check_churn(void) {
  cts_thread *churn = cts_thread_start(CTS_CHURNS);
  npc_poke on = spec_arm(spec_site(3), spec_begin), off = spec_disarm(on);
  npc_transaction there =
      spec_transaction(&on, 1, NPC_PROTOCOL_STOP_MACHINE, NPC_WRITER_MPROTECT);
  npc_transaction back = there;
  back.pokes = &off;
  there.stop_timeout_milliseconds = back.stop_timeout_milliseconds = 5000;
  npc_result result;
  for (int i = 0; i < 30; i++) {
    CHECK(npc_transaction_execute(&there, &result));
    CHECK(npc_transaction_execute(&back, &result));
  }
  CHECK(cts_thread_stop(churn) > 0);
}
