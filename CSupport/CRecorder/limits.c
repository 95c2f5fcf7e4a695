// SPDX-License-Identifier: Apache-2.0
//
// How many descriptors this process may have. The recorder needs some for each process that it
// records; the programs that it starts have the limit that their user gave them.

#include <sys/resource.h>

#include "CRecorder.h"

static struct rlimit users;   // as this process was started
static bool is_raised;

void nrc_raise_descriptor_limit(void) {
  if (is_raised || getrlimit(RLIMIT_NOFILE, &users) != 0) return;
  const struct rlimit most = {users.rlim_max, users.rlim_max};
  is_raised = setrlimit(RLIMIT_NOFILE, &most) == 0;
}

void nrc_descriptor_limit_for_children(bool begins) {
  if (!is_raised) return;
  const struct rlimit most = {users.rlim_max, users.rlim_max};
  setrlimit(RLIMIT_NOFILE, begins ? &users : &most);
}

uint64_t nrc_file_size_limit(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return UINT64_MAX;
  return limit.rlim_cur;
}
