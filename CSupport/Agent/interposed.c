// SPDX-License-Identifier: Apache-2.0
//
// The functions of libc that the agent interposes. They do what libc's do, and tell the agent of
// what it could not notice otherwise:
//
//   prctl, pthread_setname_np   a thread's name changes
//   prctl, syscall              a system call filter is installed, or the time stamp counter is
//                               forbidden
//   longjmp and its kin         frames end without returning
//   clone                       a child is to run in this memory at the same time, with this
//                               thread's thread-local storage
//
// libc's functions are looked up at the start: later, dlsym could wait for a thread that is loading
// a library and waits for this one.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/prctl.h>

#include "agent.h"
#include "syscalls.h"

#define EXPORT __attribute__((visibility("default")))

typedef int set_name(pthread_t, const char *);
typedef int start_clone(int (*)(void *), void *, int, void *, ...);

typedef void jump(struct __jmp_buf_tag *, int) __attribute__((noreturn));

extern void *nag_libc_syscall;  // interposed_syscall.S
static set_name *libc_set_name;
static start_clone *libc_clone;
static jump *libc_jump, *libc_jump_checked;

void nag_interposed_prepare(void) {
  libc_set_name = (set_name *)dlsym(RTLD_NEXT, "pthread_setname_np");
  void *libc_syscall = dlsym(RTLD_NEXT, "syscall");
  if (libc_syscall != NULL) nag_libc_syscall = libc_syscall;
  libc_clone = (start_clone *)dlsym(RTLD_NEXT, "clone");
  libc_jump = (jump *)dlsym(RTLD_NEXT, "siglongjmp");
  libc_jump_checked = (jump *)dlsym(RTLD_NEXT, "__longjmp_chk");
}

// libc keeps registers mangled: rotated, and combined with a number of the thread's.
static uint64_t stack_pointer_of(const struct __jmp_buf_tag *place) {
  enum { STACK_POINTER = 6 };
  uint64_t pointer = (uint64_t)place->__jmpbuf[STACK_POINTER];
  __asm__("rorq $17, %0\n\txorq %%fs:48, %0" : "+r"(pointer) : : "cc");
  return pointer;
}

// One function in libc, too: whether the signal mask is restored depends on the buffer.
EXPORT void siglongjmp(struct __jmp_buf_tag *place, int value) {
  nag_shadow_jumping(stack_pointer_of(place));
  libc_jump(place, value);
}
EXPORT void longjmp(struct __jmp_buf_tag *place, int value)
    __attribute__((alias("siglongjmp"), noreturn));
EXPORT void _longjmp(struct __jmp_buf_tag *place, int value)
    __attribute__((alias("siglongjmp"), noreturn));

// What longjmp is under _FORTIFY_SOURCE.
EXPORT void __longjmp_chk(struct __jmp_buf_tag *place, int value) __attribute__((noreturn));
EXPORT void __longjmp_chk(struct __jmp_buf_tag *place, int value) {
  nag_shadow_jumping(stack_pointer_of(place));
  libc_jump_checked(place, value);
}

EXPORT int prctl(int option, ...) {
  va_list arguments;
  uint64_t word[4];
  va_start(arguments, option);
  for (int i = 0; i < 4; i++) word[i] = va_arg(arguments, uint64_t);
  va_end(arguments);
  nag_before_syscall(SYS_prctl, (uint64_t)option, word[0], word[1]);
  int64_t result = NAG_CALL(SYS_prctl, option, word[0], word[1], word[2], word[3]);
  if (option == PR_SET_NAME && result == 0) nag_thread_renamed();
  if (result >= 0) return (int)result;
  errno = (int)-result;
  return -1;
}

EXPORT int pthread_setname_np(pthread_t thread, const char *name) {
  if (libc_set_name == NULL) return ENOSYS;
  int error = libc_set_name(thread, name);
  if (error == 0) nag_thread_renamed();
  return error;
}

EXPORT int clone(int (*function)(void *), void *stack, int flags, void *argument, ...) {
  va_list arguments;
  va_start(arguments, argument);
  pid_t *parent = va_arg(arguments, pid_t *);
  void *storage = va_arg(arguments, void *);
  pid_t *child = va_arg(arguments, pid_t *);
  va_end(arguments);
  if (libc_clone == NULL) {
    errno = ENOSYS;
    return -1;
  }
  bool is_shared = flags & CLONE_VM && !(flags & (CLONE_SETTLS | CLONE_VFORK));
  if (is_shared) nag_thread_leave(NREC_FLAG_SHARED);
  return libc_clone(function, stack, flags, argument, parent, storage, child);
}
