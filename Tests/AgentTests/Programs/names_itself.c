// SPDX-License-Identifier: Apache-2.0
//
// Two programs in one file. As a library, its constructor starts a thread and waits until it is
// ready; the thread names itself first. As a program, it loads the library.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>

#ifdef LIBRARY

static sem_t ready;

static void *work(void *unused) {
  pthread_setname_np(pthread_self(), "worker");
  sem_post(&ready);
  return unused;
}

__attribute__((constructor)) static void start(void) {
  pthread_t thread;
  sem_init(&ready, 0, 0);
  pthread_create(&thread, NULL, work, NULL);
  sem_wait(&ready);
  pthread_join(thread, NULL);
}

#else

int main(int count, char **words) {
  void *library = count > 1 ? dlopen(words[1], RTLD_NOW) : NULL;
  printf("loaded: %s\n", library ? "yes" : dlerror());
  return library == NULL;
}

#endif
