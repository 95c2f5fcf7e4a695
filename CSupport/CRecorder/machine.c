// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "CRecorder.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

uint64_t nrc_ticks(void) { return __rdtsc(); }

static uint64_t nanoseconds(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t nrc_monotonic_nanoseconds(void) { return nanoseconds(CLOCK_MONOTONIC); }
uint64_t nrc_realtime_nanoseconds(void) { return nanoseconds(CLOCK_REALTIME); }

bool nrc_ticks_are_steady(void) {
  unsigned a, b, c, d;
  return __get_cpuid(0x80000007, &a, &b, &c, &d) && d & 1u << 8;
}

bool nrc_contains(const void *bytes, size_t size, const void *wanted, size_t wanted_size) {
  return memmem(bytes, size, wanted, wanted_size) != NULL;
}

long nrc_membarrier_commands(void) { return syscall(SYS_membarrier, 0 /* QUERY */, 0, 0); }

bool nrc_has_shadow_stack(void) {
  // ARCH_SHSTK_STATUS (Documentation/arch/x86/shstk.rst): EINVAL before Linux 6.6.
  uint64_t features = 0;
  return syscall(SYS_arch_prctl, 0x5005, &features) == 0 && features & 1;
}

enum { PAGE = 4096 };

// Maps a private, executable page of `file`, as the loader maps text. A security module may refuse
// to make such a page writable.
static void *map_text(const char *file) {
  int descriptor = open(file, O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return MAP_FAILED;
  void *page = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, descriptor, 0);
  int error = errno;
  close(descriptor);
  errno = error;
  return page;
}

int nrc_probe_mprotect(const char *file) {
  volatile unsigned char *page = map_text(file);
  if (page == MAP_FAILED) return errno;
  int error = 0;
  if (mprotect((void *)page, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC) != 0) error = errno;
  if (!error) page[0] = 0xcc;
  if (!error && mprotect((void *)page, PAGE, PROT_READ | PROT_EXEC) != 0) error = errno;
  munmap((void *)page, PAGE);
  return error;
}

int nrc_probe_process_memory(const char *file) {
  volatile unsigned char *page = map_text(file);
  if (page == MAP_FAILED) return errno;
  int error = 0;
  int memory = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
  const unsigned char byte = 0xcc;
  if (memory < 0) error = errno;
  else if (pwrite(memory, &byte, 1, (off_t)(uintptr_t)page) != 1) error = errno;
  else if (page[0] != byte) error = EIO;
  if (memory >= 0) close(memory);
  munmap((void *)page, PAGE);
  return error;
}
