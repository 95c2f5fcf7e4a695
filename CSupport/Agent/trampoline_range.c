// SPDX-License-Identifier: Apache-2.0
//
// Where trampolines and slots lie: in a file of its own beside the agent, libNopscopeTrampolines.so, that
// has nothing but 4 GiB of address range and the one unwind rule for it (CSupport/Trampolines). It is
// loaded where a tracer hooks returns and the program may have so much address space; else no return
// is hooked, and calls are recorded without their ends.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/resource.h>

#include "agent.h"
#include "syscalls.h"

static bool is_roomy(void) {
  const uint64_t roomy = (uint64_t)1 << 35;
  struct rlimit limit;
  return NAG_CALL(SYS_prlimit64, 0, RLIMIT_AS, 0, &limit) != 0 || limit.rlim_cur >= roomy;
}

// The agent's own path, with the last name exchanged.
static bool beside(char *path, size_t size, const char *name) {
  Dl_info own;
  if (dladdr((void *)&nag_config, &own) == 0 || own.dli_fname == NULL) return false;
  size_t length = 0, folder = 0, i = 0;
  for (; own.dli_fname[length]; length++)
    if (own.dli_fname[length] == '/') folder = length + 1;
  while (name[i]) i++;
  if (folder + i >= size) return false;
  nag_copy(path, own.dli_fname, folder);
  nag_copy(path + folder, name, i + 1);
  return true;
}

uint8_t *nag_trampolines_find(void) {
  char path[4096];
  uint32_t tracer = nag_config.config.tracer;
  if ((tracer != NREC_TRACER_GRAPH && tracer != NREC_TRACER_PROFILE) || !is_roomy()) return NULL;
  if (!beside(path, sizeof path, "libNopscopeTrampolines.so")) return NULL;
  void *frames = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  uint8_t **start = frames == NULL ? NULL : dlsym(frames, "nopscope_trampolines");
  return start == NULL ? NULL : *start;
}
