// SPDX-License-Identifier: Apache-2.0
//
//   asks FOLDER COUNT         asks its parent, which is nopscope, for a snapshot COUNT times by SIGUSR2,
//                             and waits for each but the last
//   asks FOLDER kill NAME     asks once, and kills its parent as soon as FOLDER has that name in it

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

__attribute__((noinline)) void work(void) { __asm__ volatile(""); }
__attribute__((noinline)) void asked(void) { kill(getppid(), SIGUSR2); }

static void wait_for(const char *path) {
  for (int i = 0; i < 3000 && access(path, F_OK) != 0; i++) usleep(10000);
}

int main(int count, char **words) {
  char path[4096];
  for (int i = 0; i < 1000; i++) work();
  if (strcmp(words[2], "kill") == 0) {
    pid_t parent = getppid();
    asked();
    snprintf(path, sizeof path, "%s/%s", words[1], words[3]);
    for (int i = 0; i < 1000000 && access(path, F_OK) != 0; i++) {}
    kill(parent, SIGKILL);
    return 0;
  }
  int most = atoi(words[2]);
  for (int i = 1; i <= most; i++) {
    asked();
    snprintf(path, sizeof path, "%s/snapshot-%d", words[1], i);
    if (i < most) wait_for(path);
  }
  puts("asked");
  return 4;
}
