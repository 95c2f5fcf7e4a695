// SPDX-License-Identifier: Apache-2.0
//
// One thread loads and unloads a library, another forks. malloc has a lock and fork handlers that
// hold it across a fork, as jemalloc's and tcmalloc's do. They hold it for a moment, so that the
// other thread is likely to want it in the middle of a load.
//
// The loader frees memory while it unloads a library. It is slow there, so that a fork begins in
// between.
//
// usage: heap_forks LIBRARY TURNS

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define PLAIN __attribute__((noinline, no_instrument_function))

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *old, size_t bytes);
void __libc_free(void *memory);

static pthread_mutex_t heap = PTHREAD_MUTEX_INITIALIZER;
static __thread int is_loading;
static _Atomic int loads;
static const char *path;
static int turns;

PLAIN static void hold(void) { pthread_mutex_lock(&heap); }
PLAIN static void release(void) { pthread_mutex_unlock(&heap); }

PLAIN void *malloc(size_t bytes) {
  hold();
  void *memory = __libc_malloc(bytes);
  release();
  return memory;
}

PLAIN void *calloc(size_t count, size_t bytes) {
  hold();
  void *memory = __libc_calloc(count, bytes);
  release();
  return memory;
}

PLAIN void *realloc(void *old, size_t bytes) {
  hold();
  void *memory = __libc_realloc(old, bytes);
  release();
  return memory;
}

PLAIN void free(void *memory) {
  if (is_loading) usleep(300);
  hold();
  __libc_free(memory);
  release();
}

PLAIN static void hold_for_a_moment(void) {
  hold();
  usleep(300);
}

__attribute__((constructor)) PLAIN static void prepare(void) {
  pthread_atfork(hold_for_a_moment, release, release);
}

__attribute__((noinline)) int load(void) {
  void *library = dlopen(path, RTLD_NOW);
  if (library != NULL) dlclose(library);
  return library != NULL;
}

PLAIN static void *load_on(void *unused) {
  (void)unused;
  is_loading = 1;
  while (loads < turns) loads += load();
  return NULL;
}

int main(int count, char **words) {
  if (count != 3) return 64;
  path = words[1];
  turns = atoi(words[2]);
  pthread_t thread;
  pthread_create(&thread, NULL, load_on, NULL);
  int bad = 0;
  while (loads < turns) {
    pid_t child = fork();
    if (child == 0) _exit(0);
    int status;
    bad += waitpid(child, &status, 0) != child || status != 0;
  }
  pthread_join(thread, NULL);
  printf("bad %d load %d\n", bad, loads);
  return bad != 0;
}
