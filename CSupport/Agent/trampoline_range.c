// SPDX-License-Identifier: Apache-2.0
//
// Finds the address range of trampolines and slots. libNopscopeTrampolines.so, a library beside the
// agent, reserves it: the library contains only the range of 4 GiB and the one unwind rule for it
// (CSupport/Trampolines). Where the library is missing, or the program may not have so much address
// space, no return is hooked and calls are recorded without their ends. `nopscope record` says so.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/resource.h>

#include "agent.h"
#include "syscalls.h"

static bool is_roomy(void) {
  struct rlimit limit;
  return NAG_CALL(SYS_prlimit64, 0, RLIMIT_AS, 0, &limit) != 0 || limit.rlim_cur >= NREC_ROOMY_BYTES;
}

// Writes the path of `name` in the agent's own folder.
static bool beside(char *path, size_t size, const char *name) {
  Dl_info agent;
  if (dladdr((void *)&nag_config, &agent) == 0 || agent.dli_fname == NULL) return false;
  size_t length = 0, folder = 0, i = 0;
  for (; agent.dli_fname[length]; length++)
    if (agent.dli_fname[length] == '/') folder = length + 1;
  while (name[i]) i++;
  if (folder + i >= size) return false;
  nag_copy(path, agent.dli_fname, folder);
  nag_copy(path + folder, name, i + 1);
  return true;
}

uint8_t *nag_trampolines_find(nag_unwinding *unwinding) {
  char path[4096];
  if (!is_roomy() || !beside(path, sizeof path, "libNopscopeTrampolines.so")) return NULL;
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  uint8_t **start = library == NULL ? NULL : dlsym(library, "nopscope_trampolines");
  nag_unwinding **called = start == NULL ? NULL : dlsym(library, "nopscope_unwinding");
  if (called == NULL) return NULL;
  *called = unwinding;
  return *start;
}
