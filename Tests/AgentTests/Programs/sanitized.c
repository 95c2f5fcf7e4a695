// SPDX-License-Identifier: Apache-2.0
//
// For programs that are built with a sanitizer. "wrong": it makes the error that this sanitizer
// finds.
//
// usage: sanitized right|wrong address|undefined|thread

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static volatile int shared;
static volatile int sum;

__attribute__((noinline)) void leaf(int i) { sum += i; }
__attribute__((noinline)) int behind(const char *end) { return *end; }
__attribute__((noinline)) int shift(int bits) { return 1 << bits; }

static void *race(void *unused) {
  for (int i = 0; i < 1000; i++) shared++;
  return unused;
}

int main(int count, char **words) {
  if (count != 3) return 64;
  int is_wrong = strcmp(words[1], "wrong") == 0;
  for (int i = 0; i < 100; i++) leaf(i);
  printf("%d\n", sum);
  fflush(stdout);
  pthread_t thread;
  if (is_wrong && strcmp(words[2], "thread") == 0) {
    pthread_create(&thread, NULL, race, NULL);
    race(NULL);
    pthread_join(thread, NULL);
  } else if (is_wrong && strcmp(words[2], "address") == 0) {
    char *memory = malloc(8);
    sum = behind(memory + 8);
    free(memory);
  } else if (is_wrong) {
    sum = shift(32 + count);
  }
  return 0;
}
