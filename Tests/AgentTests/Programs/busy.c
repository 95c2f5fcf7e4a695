// SPDX-License-Identifier: Apache-2.0
// A plugin whose constructor and destructor are traced, start threads, and load and unload another
// plugin from the same folder.
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#define KEEP __attribute__((noinline, noclone, visibility("default")))
static volatile int one = 1;
static void *other;

KEEP int busy_leaf(int value) { return value + one; }
KEEP void *busy_thread(void *argument) { return busy_leaf(1) ? argument : NULL; }
KEEP void busy_start(void) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, busy_thread, NULL) != 0) abort();
  pthread_join(thread, NULL);
}
__attribute__((constructor)) KEEP void busy_begin(void) {
  busy_start();
  other = dlopen("plugin.so", RTLD_NOW);
  if (other == NULL) abort();
}
__attribute__((destructor)) KEEP void busy_end(void) {
  busy_start();
  dlclose(other);
}
KEEP int busy_enter(int value) {
  return busy_leaf(value) + ((int (*)(int))dlsym(other, "plugin_enter"))(value);
}
// Unloads the library that this function is in. The dlclose is a tail call, so it returns to the
// caller of this function.
KEEP int leave(void *self) {
  busy_leaf(1);
  return dlclose(self);
}
