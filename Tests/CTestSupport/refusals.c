// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "refusals.h"

#include <dirent.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#define PR_MDWE_REFUSE_EXEC_GAIN 1
#endif

int cts_refuse_executable_gain(void) {
  return prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) == 0 ? 0 : errno;
}

static int filter(struct sock_filter *code, unsigned short length) {
  struct sock_fprog program = {length, code};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return errno;
  return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0 ? 0 : errno;
}

enum { REFUSE = SECCOMP_RET_ERRNO | EPERM };

int cts_refuse_mprotect(int protection) {
  struct sock_filter code[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mprotect, 0, 3),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)protection, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, REFUSE),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  return filter(code, sizeof code / sizeof code[0]);
}

static int refuse(unsigned number) {
  struct sock_filter code[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, REFUSE),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  return filter(code, sizeof code / sizeof code[0]);
}

int cts_refuse_membarrier(void) { return refuse(SYS_membarrier); }
int cts_refuse_copies(void) { return refuse(SYS_process_vm_readv); }

int cts_refuse_proc(void) {
  bool refused = unshare(CLONE_NEWNS) == 0 &&
                 mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
                 umount2("/proc", MNT_DETACH) == 0;
  return refused ? 0 : errno;
}

int cts_limit_queued_signals(uint64_t count) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_SIGPENDING, &limit) != 0) return errno;
  limit.rlim_cur = count < limit.rlim_max ? count : limit.rlim_max;
  return setrlimit(RLIMIT_SIGPENDING, &limit) == 0 ? 0 : errno;
}

int cts_refuse_open(int spare) {
  enum { MAX = 1024 };
  static int filled[MAX], count;
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return errno;
  limit.rlim_cur = MAX;
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) return errno;
  // The limit is a number, not a count: fill the table, then free the spare ones.
  int next;
  while (count < MAX && (next = dup(0)) >= 0) filled[count++] = next;
  if (count < spare) return EMFILE;
  while (spare-- > 0) close(filled[--count]);
  return 0;
}
