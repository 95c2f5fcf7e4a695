// SPDX-License-Identifier: Apache-2.0
// refuses HOW PROGRAM [ARGUMENT]…: makes the system refuse something, then executes PROGRAM.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NONE = 0xff };

// Makes system call `number` fail with `error` if its argument `index` has all bits of `bits`.
static int refuse_by(int index, unsigned number, unsigned bits, int error) {
  unsigned argument = offsetof(struct seccomp_data, args[0]) + 8 * (unsigned)index;
  struct sock_filter code[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 4),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, argument),
    BPF_STMT(BPF_ALU | BPF_AND | BPF_K, bits),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, bits, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof code / sizeof code[0], code};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
  return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
}

// By its third argument.
static int refuse(unsigned number, unsigned bits, int error) {
  return refuse_by(2, number, bits, error);
}

static int limit(int resource, rlim_t value) {
  struct rlimit both = {value, value};
  return setrlimit(resource, &both);
}

static int without_proc(void) {
  if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) return -1;
  return umount2("/proc", MNT_DETACH);
}

static int full_shared_memory(void) {
  if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) return -1;
  if (mount("none", "/dev/shm", "tmpfs", 0, "size=4k") != 0) return -1;
  int file = open("/dev/shm/full", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  static char page[4096];
  while (write(file, page, sizeof page) > 0) {}
  return errno == ENOSPC ? 0 : -1;
}

// Uses all descriptors except `spare`. They stay in use in the program.
static int full_table(int spare) {
  int last = 0, next;
  if (limit(RLIMIT_NOFILE, 64) != 0) return -1;
  while ((next = dup(2)) >= 0) last = next;
  while (spare-- > 0) close(last--);
  return 0;
}

static int apply(const char *how) {
  const unsigned writable_text = PROT_WRITE | PROT_EXEC;
  if (!strcmp(how, "nothing")) return 0;
  if (!strcmp(how, "mprotect")) return refuse(SYS_mprotect, writable_text, EPERM);
  if (!strcmp(how, "executable")) return refuse(SYS_mprotect, PROT_EXEC, EPERM);
  if (!strcmp(how, "mdwe")) return prctl(65 /* PR_SET_MDWE */, 1 /* REFUSE_EXEC_GAIN */, 0, 0, 0);
  if (!strcmp(how, "no-proc")) return without_proc();
  if (!strcmp(how, "neither")) return without_proc() ?: refuse(SYS_mprotect, writable_text, EPERM);
  if (!strcmp(how, "membarrier")) return refuse(SYS_membarrier, 0, EPERM);
  if (!strcmp(how, "seals")) return refuse_by(1, SYS_fcntl, F_GET_SEALS, EPERM);
  if (!strcmp(how, "ENOSPC")) return refuse(SYS_pwrite64, 0, ENOSPC);
  if (!strcmp(how, "EDQUOT")) return refuse(SYS_pwrite64, 0, EDQUOT);
  if (!strcmp(how, "full-table")) return full_table(0);
  if (!strcmp(how, "nearly-full-table")) return full_table(2);
  if (!strcmp(how, "few-descriptors")) return limit(RLIMIT_NOFILE, 24);
  if (!strcmp(how, "no-file-size")) return limit(RLIMIT_FSIZE, 0);
  if (!strcmp(how, "small-file-size")) return limit(RLIMIT_FSIZE, 65536);
  if (!strcmp(how, "small-space")) return limit(RLIMIT_AS, (rlim_t)1 << 30);
  if (!strcmp(how, "tight-space")) return limit(RLIMIT_AS, (rlim_t)5 << 30);
  if (!strcmp(how, "full-shm")) return full_shared_memory();
  return errno = EINVAL, -1;
}

int main(int count, char **words) {
  if (count < 3 || apply(words[1]) != 0) return perror(words[1]), NONE;
  execv(words[2], words + 2);
  return perror(words[2]), NONE;
}
