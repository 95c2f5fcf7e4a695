// SPDX-License-Identifier: Apache-2.0
// The ways in which programs load and unload libraries. argv[1] selects one; the rest are files.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <iconv.h>
#include <link.h>
#include <pthread.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define KEEP __attribute__((noinline, noclone))
#define OURS __attribute__((no_instrument_function))
static volatile int one = 1;
KEEP int work(int value) { return value + one; }

OURS static void *load(const char *path) {
  void *library = dlopen(path, RTLD_NOW);
  if (library == NULL) {
    puts(dlerror());
    exit(2);
  }
  return library;
}
// Calls `name` `count` times and prints the sum of the results, which the test compares.
OURS static void call(void *library, const char *name, int count) {
  int (*function)(int) = (int (*)(int))dlsym(library, name), sum = 0;
  if (function == NULL) exit(4);
  for (int i = 0; i < count; i++) sum += function(i);
  printf("%s %d\n", name, sum);
}
OURS static const struct link_map *map_of(void *library) {
  struct link_map *map = NULL;
  dlinfo(library, RTLD_DI_LINKMAP, &map);
  return map;
}

OURS static void moved(char **files) {
  void *library = load(files[0]);
  char *base = (char *)map_of(library)->l_addr;
  call(library, "plugin_enter", 2);
  dlclose(library);
  mmap(base, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  library = load(files[0]);
  puts((char *)map_of(library)->l_addr == base ? "same place" : "another place");
  call(library, "plugin_enter", 3);
  dlclose(library);
}
OURS static void replaced(char **files) {
  void *library = load(files[0]);
  call(library, "plugin_enter", 2);
  dlclose(library);
  rename(files[1], files[0]);
  library = load(files[0]);
  call(library, "plugin_other", 3);
  dlclose(library);
}
OURS static void replaced_while_loaded(char **files) {
  void *library = load(files[0]), *again;
  rename(files[1], files[0]);
  again = load(files[0]);
  call(library, "plugin_enter", 2);
  call(again, dlsym(again, "plugin_enter") ? "plugin_enter" : "plugin_other", 3);
  dlclose(library);
  dlclose(again);
  library = load(files[0]);
  call(library, "plugin_other", 4);
  dlclose(library);
}
OURS static void deleted(char **files) {
  void *library = load(files[0]);
  unlink(files[0]);
  call(library, "plugin_enter", 5);
  dlclose(library);
}
OURS static void by_descriptor(char **files) {
  char path[64];
  int file = open(files[0], O_RDONLY);
  unlink(files[0]);
  snprintf(path, sizeof path, "/proc/self/fd/%d", file);
  void *library = load(path);
  call(library, "plugin_enter", 5);
  dlclose(library);
}
OURS static void two(char **files) {
  void *first = load(files[0]), *second = load(files[1]);
  for (int i = 0; i < 3; i++) {
    call(first, "plugin_enter", 2);
    call(second, "plugin_other", 3);
  }
  dlclose(first);
  call(second, "plugin_other", 1);
  dlclose(second);
}
OURS static void references(char **files) {
  void *first = load(files[0]), *second = load(files[0]);
  call(first, "plugin_enter", 2);
  dlclose(second);
  call(first, "plugin_enter", 3);
  dlclose(first);
}
// Loads a library by its name only. The program's RUNPATH finds it, and the library's own RUNPATH
// finds its dependency.
OURS static void dependency(char **files) {
  for (int i = 0; i < 3; i++) {
    void *library = load(files[0]);
    call(library, "outer", 2);
    dlclose(library);
    puts(dlopen(files[1], RTLD_NOW | RTLD_NOLOAD) ? "still there" : "gone");
  }
}
OURS static void namespaces(char **files) {
  for (int i = 0; i < 3; i++) {
    void *library = dlmopen(LM_ID_NEWLM, files[0], RTLD_NOW);
    if (library == NULL) exit(puts(dlerror()));
    call(library, "plugin_enter", 2);
    void *own = load(files[0]);
    call(own, "plugin_enter", 3);
    dlclose(library);
    call(own, "plugin_enter", 1);
    dlclose(own);
  }
}
OURS static void nested(char **files) {
  for (int i = 0; i < 20; i++) {
    void *library = load(files[0]);
    call(library, "busy_enter", 2);
    dlclose(library);
  }
}
OURS static void by_libc(void) {
  for (int i = 0; i < 20; i++) {
    iconv_t conversion = iconv_open("UTF-16", "ISO-8859-2");
    if (conversion != (iconv_t)-1) iconv_close(conversion);
    puts(getpwnam("root") ? "root" : "nobody");
    work(i);
  }
}
OURS static void closes_itself(char **files) {
  for (int i = 0; i < 50; i++) {
    void *library = load(files[0]);
    int (*leave)(void *) = (int (*)(void *))dlsym(library, "leave");
    printf("%d\n", leave(library));
  }
}
// Unmaps the library's text by munmap and maps other text there. The agent must not write to that
// text, and must not crash.
OURS static void unmapped(char **files) {
  void *library = load(files[0]);
  call(library, "plugin_enter", 2);
  Dl_info info;
  dladdr(dlsym(library, "plugin_enter"), &info);
  char *page = (char *)((uintptr_t)info.dli_saddr & ~(uintptr_t)4095);
  munmap(page, 4096);
  void *other = load(files[1]);
  call(other, "plugin_other", 3);
  char *mine = mmap(page, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (mine == page) memset(page, 0xc3, 4096);
  dlclose(other);
  other = load(files[1]);
  call(other, "plugin_other", 4);
  int strange = 0;
  for (int i = 0; mine == page && i < 4096; i++) strange += page[i] != (char)0xc3;
  printf("%d bytes changed\n", strange);
  fflush(stdout);
  _exit(3);  // the library's destructor is unmapped
}

// Threads make their first traced call inside dl_iterate_phdr, where the loader's lock is held.
// This thread loads and unloads meanwhile.
static _Atomic long looks;
static volatile int goes_on = 1;
OURS static int look(struct dl_phdr_info *info, size_t size, void *context) {
  work(1);
  looks++;
  usleep(200);
  return 1;
}
OURS static void *iterate(void *argument) { return dl_iterate_phdr(look, NULL), argument; }
OURS static void *start_threads(void *argument) {
  while (goes_on) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, iterate, NULL) != 0) exit(6);
    pthread_join(thread, NULL);
  }
  return argument;
}
OURS static void while_iterating(char **files) {
  pthread_t threads[3];
  for (int i = 0; i < 3; i++) pthread_create(&threads[i], NULL, start_threads, NULL);
  for (int i = 0; i < 500; i++) {
    void *library = load(files[0]);
    call(library, "plugin_enter", 2);
    dlclose(library);
  }
  goes_on = 0;
  for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
  fprintf(stderr, "calls work %ld\n", (long)looks);
}

// Does what a debugger does: while its breakpoint is in the loader, our jump is not. Meanwhile the
// same library is unloaded and loaded again at the same place.
OURS static void unseen(char **files) {
  int memory = open("/proc/self/mem", O_RDWR);
  unsigned char jump, ret = 0xc3;
  off_t at = (off_t)_r_debug.r_brk;
  void *library = load(files[0]);
  void *base = (void *)map_of(library)->l_addr;
  call(library, "plugin_enter", 2);
  if (pread(memory, &jump, 1, at) != 1 || pwrite(memory, &ret, 1, at) != 1) exit(5);
  dlclose(library);
  library = load(files[0]);
  puts((void *)map_of(library)->l_addr == base ? "same place" : "another place");
  int (*function)(int) = (int (*)(int))dlsym(library, "plugin_enter");
  function(1);  // not traced: the agent has not seen the load
  if (pwrite(memory, &jump, 1, at) != 1) exit(5);
  void *other = load(files[1]);
  call(other, "plugin_other", 1);
  printf("still %d\n", function(1));
  dlclose(library);
  dlclose(other);
}

int main(int count, char **words) {
  const char *how = words[1];
  char **files = words + 2;
  setvbuf(stdout, NULL, _IOFBF, 1 << 16);
  if (!strcmp(how, "moved")) moved(files);
  if (!strcmp(how, "replaced")) replaced(files);
  if (!strcmp(how, "replaced while loaded")) replaced_while_loaded(files);
  if (!strcmp(how, "deleted")) deleted(files);
  if (!strcmp(how, "by descriptor")) by_descriptor(files);
  if (!strcmp(how, "two")) two(files);
  if (!strcmp(how, "references")) references(files);
  if (!strcmp(how, "dependency")) dependency(files);
  if (!strcmp(how, "namespaces")) namespaces(files);
  if (!strcmp(how, "nested")) nested(files);
  if (!strcmp(how, "by libc")) by_libc();
  if (!strcmp(how, "closes itself")) closes_itself(files);
  if (!strcmp(how, "unmapped")) unmapped(files);
  if (!strcmp(how, "while iterating")) while_iterating(files);
  if (!strcmp(how, "unseen")) unseen(files);
  return 3;
}
