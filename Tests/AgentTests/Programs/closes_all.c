// SPDX-License-Identifier: Apache-2.0
// closes_all HOW: closes every descriptor that it does not know ("loop": one by one; "range":
// close_range; "child": in a forked child, too), then opens files and sockets of its own, which get
// the numbers that were closed. Traced calls go on all the time. Nobody else may write there.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PLAIN __attribute__((no_instrument_function))
enum { FILES = 900, ROUNDS = 50000, THREADS = 3 };

__attribute__((noinline)) int work(int value) {
  __asm__ volatile("");
  return value + 1;
}
__attribute__((noinline)) int child_work(int value) {
  __asm__ volatile("");
  return value + 2;
}

static int files[FILES], ends[2];

PLAIN static void close_all(const char *how) {
  if (strcmp(how, "range") == 0) syscall(SYS_close_range, 3u, ~0u, 0u);
  else
    for (int i = 3; i < 1024; i++) close(i);
}

PLAIN static int open_own(void) {
  for (int i = 0; i < FILES; i++) {
    char name[] = "/tmp/closes-XXXXXX";
    files[i] = mkstemp(name);
    unlink(name);
    if (files[i] < 0 || write(files[i], "mine", 4) != 4) return 1;
  }
  return socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends);
}

// How many of them hold anything but what this program has written.
PLAIN static int count_wrong(void) {
  int wrong = 0;
  for (int i = 0; i < FILES; i++) {
    char text[8] = {0};
    wrong += lseek(files[i], 0, SEEK_END) != 4 || pread(files[i], text, 8, 0) != 4 ||
             memcmp(text, "mine", 4) != 0;
  }
  char byte;
  for (int i = 0; i < 2; i++) wrong += recv(ends[i], &byte, 1, MSG_DONTWAIT) != -1;
  return wrong;
}

PLAIN static void *run(void *unused) {
  for (int i = 0; i < ROUNDS; i++) work(i);
  return unused;
}

PLAIN int main(int count, char **arguments) {
  if (count < 2) return 9;
  work(0);
  close_all(arguments[1]);
  if (open_own() != 0) return 8;
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, run, NULL);
  run(NULL);
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  pid_t child = fork();
  if (child == 0) {
    if (strcmp(arguments[1], "child") == 0) {
      close_all("range");
      if (open_own() != 0) _exit(7);
    }
    for (int i = 0; i < 1000; i++) child_work(i);
    _exit(count_wrong() != 0);
  }
  int status = 1;
  waitpid(child, &status, 0);
  printf("wrong %d, child %d\n", count_wrong(), WEXITSTATUS(status));
  printf("calls work %d\ncalls child_work 1000\n", (THREADS + 1) * ROUNDS + 1);
  return 3;
}
