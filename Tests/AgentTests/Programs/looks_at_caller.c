// SPDX-License-Identifier: Apache-2.0
//
// Functions that end in a tail call of one that knows its caller by its return address: dlopen
// searches by the caller's RUNPATH, dlsym(RTLD_NEXT) behind the caller.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>

#define NO __attribute__((noinline))

static volatile int rare;

NO void *load(const char *name) { return dlopen(name, RTLD_NOW); }
NO void *next(const char *name) { return dlsym(RTLD_NEXT, name); }
NO void *next_versioned(const char *name) { return dlvsym(RTLD_NEXT, name, "GLIBC_2.2.5"); }
NO int each(int (*callback)(struct dl_phdr_info *, size_t, void *), void *context) {
  return dl_iterate_phdr(callback, context);
}
// The compiler moves the call to a cold part of the function.
NO void *seldom(const char *name) {
  if (__builtin_expect(rare, 0)) return dlsym(RTLD_NEXT, name);
  return NULL;
}

// Reads its return address itself.
NO void *caller(void) { return __builtin_return_address(0); }
static int is_in_program(const void *address) {
  Dl_info found, own;
  return dladdr(address, &found) && dladdr((void *)load, &own) && found.dli_fbase == own.dli_fbase;
}

static int count(struct dl_phdr_info *info, size_t size, void *context) {
  (void)info, (void)size;
  ++*(int *)context;
  return 0;
}

int main(void) {
  int modules = 0;
  rare = 1;
  each(count, &modules);
  printf("RUNPATH %s, ", load("libby_runpath.so") ? "found" : dlerror());
  printf("RTLD_NEXT %d %d %d, ", next("puts") != NULL, next_versioned("puts") != NULL,
         seldom("puts") != NULL);
  printf("modules %d, caller %d\n", modules > 2, is_in_program(caller()));
  return 0;
}
