// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

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
  if (!npc_transaction_execute(forker->there, &result)) return 10 + result.status;
  if (!npc_transaction_execute(forker->back, &result)) return 40 + result.status;
  return 0;
}

static void *fork_on(void *context) {
  cts_forker *forker = context;
  while (!forker->stop) {
    forker->failures += cts_run_forked(patch, forker, 60) != 0;
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
