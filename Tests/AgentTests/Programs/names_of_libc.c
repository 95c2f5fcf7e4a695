// SPDX-License-Identifier: Apache-2.0
//
// Prints what the functions that change a thread's name return, and what they leave in errno.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <sys/prctl.h>

static sem_t end;
static void *wait_for_end(void *unused) {
  sem_wait(&end);
  return unused;
}

static void show(const char *what, long result) {
  printf("%s: %ld, errno %d\n", what, result, errno);
  errno = 7;
}

int main(void) {
  char name[16] = "";
  pthread_t thread;
  sem_init(&end, 0, 0);
  pthread_create(&thread, 0, wait_for_end, 0);
  errno = 7;
  show("too long", pthread_setname_np(pthread_self(), "sixteen-bytes-ab"));
  show("own", pthread_setname_np(pthread_self(), "fifteen-bytes-a"));
  show("got", pthread_getname_np(pthread_self(), name, sizeof name));
  puts(name);
  show("other, too long", pthread_setname_np(thread, "sixteen-bytes-ab"));
  show("other", pthread_setname_np(thread, "other"));
  show("got", pthread_getname_np(thread, name, sizeof name));
  puts(name);
  show("set", prctl(PR_SET_NAME, "a-name-that-is-cut-short"));
  show("get", prctl(PR_GET_NAME, name));
  puts(name);
  show("bad address", prctl(PR_SET_NAME, (char *)1));
  show("unknown", prctl(99999, 0, 0, 0, 0));
  show("arguments", prctl(PR_SET_NO_NEW_PRIVS, 2, 0, 0, 0));
  show("five", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  show("is set", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
  show("dumpable", prctl(PR_GET_DUMPABLE));
  show("timer slack", prctl(PR_SET_TIMERSLACK, 12345));
  show("got", prctl(PR_GET_TIMERSLACK));
  sem_post(&end);
  pthread_join(thread, 0);
  return 0;
}
