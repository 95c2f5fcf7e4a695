// SPDX-License-Identifier: Apache-2.0
//
// usage: many_loads FOLDER COUNT
//
// Loads FOLDER/0.so to FOLDER/(COUNT - 1).so and keeps them, in eight equal parts. Prints what the
// first loads and the last loads took of this process, each: processor time, of two parts the
// lesser, and bytes read from files.

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static long processor_time(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000L + usage.ru_utime.tv_usec +
         usage.ru_stime.tv_usec;
}

static long bytes_read(void) {
  char text[512] = "";
  FILE *file = fopen("/proc/self/io", "r");
  size_t length = file ? fread(text, 1, sizeof text - 1, file) : 0;
  text[length] = 0;
  if (file) fclose(file);
  char *count = strstr(text, "rchar: ");
  return count ? atol(count + 7) : 0;
}

int main(int count, char **arguments) {
  enum { PARTS = 8 };
  long time[PARTS], bytes[PARTS];
  int all = count > 2 ? atoi(arguments[2]) : 0;
  for (int part = 0; part < PARTS; part++) {
    long time_before = processor_time(), bytes_before = bytes_read();
    for (int i = all / PARTS * part; i < all / PARTS * (part + 1); i++) {
      char path[4096];
      snprintf(path, sizeof path, "%s/%d.so", arguments[1], i);
      void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
      int (*function)(int) = library ? (int (*)(int))dlsym(library, "loaded") : NULL;
      if (function == NULL || function(i) != 2 * (i + 1)) return 1;
    }
    time[part] = processor_time() - time_before;
    bytes[part] = bytes_read() - bytes_before;
  }
  printf("time %ld %ld\n", time[0] < time[1] ? time[0] : time[1],
         time[6] < time[7] ? time[6] : time[7]);
  printf("bytes %ld %ld\n", bytes[1], bytes[7]);
  return 3;
}
