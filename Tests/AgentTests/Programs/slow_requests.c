// SPDX-License-Identifier: Apache-2.0
//
// Answers requests. Some take half a second, the others next to nothing. Two threads and a forked
// child have answered some too, and live on.
//
//   one       the main thread answers a slow one, and then calls `later` so often that its ring is
//             overwritten
//   three     it answers three slow ones, one behind the other
//   thread    a thread answers a slow one and ends at once
//   unwound   a slow one ends by longjmp
//
// With a second word its parent, which is nopscope, is stopped from before the slow one until all is
// done.

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static jmp_buf out;
static int has_begun[2], may_end[2];

__attribute__((noinline)) void step(void) { __asm__ volatile(""); }
__attribute__((noinline)) void later(void) { __asm__ volatile(""); }
__attribute__((noinline)) void led_to_it(void) { __asm__ volatile(""); }
__attribute__((noinline)) void nap(void) { usleep(500000); }

__attribute__((noinline)) void handle_request(int is_slow, int jumps) {
  for (int i = 0; i < 10; i++) step();
  if (is_slow) nap();
  if (jumps) longjmp(out, 1);
}

__attribute__((noinline)) void serve(int count) {
  for (int i = 0; i < count; i++) handle_request(0, 0);
}

static void wait_for_end(void) {
  char byte;
  if (write(has_begun[1], "", 1) != 1 || read(may_end[0], &byte, 1) != 0) _exit(9);
}

void *other(void *unused) {
  serve(50);
  wait_for_end();
  return NULL;
}

void *slow(void *unused) {
  led_to_it();
  handle_request(1, 0);
  return NULL;
}

static void answer(const char *how) {
  pthread_t thread;
  if (strcmp(how, "thread") == 0) {
    pthread_create(&thread, NULL, slow, NULL);
    pthread_join(thread, NULL);
  } else if (strcmp(how, "unwound") == 0) {
    if (setjmp(out) == 0) handle_request(1, 1);
  } else {
    for (int i = how[0] == 't' ? 3 : 1; i > 0; i--) slow(NULL);
  }
}

int main(int count, char **words) {
  char bytes[3];
  pthread_t others[2];
  if (pipe(has_begun) != 0 || pipe(may_end) != 0) return 9;
  pid_t child = fork();
  if (child == 0) {
    close(may_end[1]);
    serve(20);
    wait_for_end();
    _exit(5);
  }
  for (int i = 0; i < 2; i++) pthread_create(&others[i], NULL, other, NULL);
  for (int i = 0; i < 3; i++)
    if (read(has_begun[0], bytes, 1) != 1) return 9;
  serve(100);
  if (count > 2) kill(getppid(), SIGSTOP);
  answer(words[1]);
  for (int i = 0; i < 1000000; i++) later();
  if (count > 2) kill(getppid(), SIGCONT);
  int status;
  close(may_end[1]);
  for (int i = 0; i < 2; i++) pthread_join(others[i], NULL);
  waitpid(child, &status, 0);
  printf("child %d\n", WEXITSTATUS(status));
  return 3;
}
