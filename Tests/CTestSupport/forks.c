// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stop.h"
#include "threads.h"

int cts_run_forked(int (*body)(void *), void *context, int seconds) {
  pid_t child = fork();
  if (child < 0) return -1;
  if (child == 0) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    signal(SIGALRM, SIG_DFL);
    alarm((unsigned)seconds);
    _exit(body(context));
  }
  int status;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
  return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

struct cts_forker {
  pthread_t id;
  _Atomic bool stop;
  const npc_transaction *there, *back;
  _Atomic uint64_t children;
  uint64_t failures;
};

static int count_module(struct dl_phdr_info *info, size_t size, void *context) {
  (void)info, (void)size;
  ++*(int *)context;
  return 0;
}

static int patch(void *context) {
  cts_forker *forker = context;
  npc_result result;
  int modules = 0;
  npc_patch_lock();
  npc_patch_unlock();
  dl_iterate_phdr(count_module, &modules);
  if (modules < 2) return 2;
  bool is_there = npc_transaction_execute(forker->there, &result);
  // A fork does not wait for the patch lock: this one came between the two transactions.
  if (!is_there && result.status == NPC_MISMATCH)
    is_there = npc_transaction_execute(forker->back, &result) &&
               npc_transaction_execute(forker->there, &result);
  if (!is_there) return 10 + result.status;
  if (!npc_transaction_execute(forker->back, &result)) return 40 + result.status;
  return 0;
}

static void *fork_on(void *context) {
  cts_forker *forker = context;
  while (!forker->stop) {
    int status = cts_run_forked(patch, forker, 60);
    if (status != 0) fprintf(stderr, "a forked child that patches: status %d\n", status);
    forker->failures += status != 0;
    forker->children++;
  }
  return NULL;
}

cts_forker *cts_forker_start(const npc_transaction *there, const npc_transaction *back) {
  cts_forker *forker = calloc(1, sizeof *forker);
  if (forker == NULL) return NULL;
  forker->there = there;
  forker->back = back;
  if (pthread_create(&forker->id, NULL, fork_on, forker) != 0) abort();
  return forker;
}

uint64_t cts_forker_count(const cts_forker *forker) { return forker->children; }

uint64_t cts_forker_stop(cts_forker *forker, uint64_t *children) {
  forker->stop = true;
  pthread_join(forker->id, NULL);
  uint64_t failures = forker->failures;
  *children = forker->children;
  free(forker);
  return failures;
}

// --- a main thread that has ended -------------------------------------------------------------------

static char state_of_main(void) {
  char path[64], text[512];
  snprintf(path, sizeof path, "/proc/self/task/%d/stat", getpid());
  int file = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t length = file < 0 ? -1 : read(file, text, sizeof text - 1);
  close(file);
  if (length <= 0) return 0;
  text[length] = 0;
  const char *name = strrchr(text, ')');
  return name ? name[2] : 0;
}

static void *stop_without_main(void *context) {
  while (state_of_main() != 'Z') sched_yield();
  npc_stop_request request = {.timeout_milliseconds = 2000};
  npc_stop_report report = {0};
  npc_patch_lock();
  bool stopped = npc_stop_threads(&request, &report);
  if (stopped) npc_resume_threads();
  npc_patch_unlock();
  _exit(stopped ? 0 : 1);
  return context;
}

bool cts_stops_beside_an_ended_main(void) {
  pid_t child = fork();
  if (child == 0) {
    pthread_t thread;
    if (npc_patch_prepare() != 0 || pthread_create(&thread, NULL, stop_without_main, NULL) != 0)
      _exit(2);
    syscall(SYS_exit, 0);  // as pthread_exit, without unwinding the frames of the caller
  }
  int status = -1;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
  return status == 0;
}
