// SPDX-License-Identifier: Apache-2.0
//
// Direct system calls. libc's wrappers set errno, are cancellation points, and may use vector
// registers.

#ifndef NAG_SYSCALLS_H
#define NAG_SYSCALLS_H

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>

/// Returns the result, or minus the errno.
static inline int64_t nag_syscall(int64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d,
                                  uint64_t e, uint64_t f) {
  register uint64_t r10 __asm__("r10") = d;
  register uint64_t r8 __asm__("r8") = e;
  register uint64_t r9 __asm__("r9") = f;
  int64_t result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}

#define NAG_CALL(number, ...) NAG_CALL_(number, ##__VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define NAG_CALL_(number, a, b, c, d, e, f, ...)                                                 \
  nag_syscall(number, (uint64_t)(a), (uint64_t)(b), (uint64_t)(c), (uint64_t)(d), (uint64_t)(e), \
              (uint64_t)(f))

static inline void *nag_mmap(void *at, size_t bytes, int protection, int flags, int file,
                             uint64_t offset) {
  int64_t result = NAG_CALL(SYS_mmap, at, bytes, protection, flags, file, offset);
  return result < 0 && result > -4096 ? NULL : (void *)result;
}

static inline size_t nag_whole_pages(size_t bytes) { return (bytes + 4095) & ~(size_t)4095; }

/// No system call may be made any more: see confinement.c.
extern bool nag_is_confined __attribute__((visibility("hidden")));

/// Anonymous memory, zeroed; NULL: there is none.
void *nag_pages(uint64_t bytes);
/// The same, which a forked child finds zeroed.
void *nag_wiped_pages(uint64_t bytes);
void nag_unmap(const void *memory, uint64_t bytes);
/// From now on.
void nag_confine(void);

static inline void nag_lock(_Atomic uint32_t *lock) {
  uint32_t seen = 0;
  if (atomic_compare_exchange_strong(lock, &seen, 1)) return;
  while (atomic_exchange(lock, 2) != 0) {
    if (nag_is_confined) __builtin_ia32_pause();
    else NAG_CALL(SYS_futex, lock, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 2, 0);
  }
}

static inline void nag_unlock(_Atomic uint32_t *lock) {
  if (atomic_exchange(lock, 0) == 2 && !nag_is_confined)
    NAG_CALL(SYS_futex, lock, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1);
}

static inline int32_t nag_thread_id(void) { return (int32_t)NAG_CALL(SYS_gettid); }
static inline int32_t nag_process_id(void) { return (int32_t)NAG_CALL(SYS_getpid); }

/// What a confined thread does instead of blocking signals, and of restoring them.
void nag_hold(void);
void nag_release(void);

/// Blocks all signals; the next function restores them. A signal handler that runs in the middle of
/// a slow path would find that path's state half changed.
static inline uint64_t nag_block_signals(void) {
  if (nag_is_confined) {
    nag_hold();
    return 0;
  }
  uint64_t all = ~(uint64_t)0, old = 0;
  NAG_CALL(SYS_rt_sigprocmask, 2 /* SIG_SETMASK */, &all, &old, 8);
  return old;
}
static inline void nag_restore_signals(uint64_t old) {
  if (nag_is_confined) nag_release();
  else NAG_CALL(SYS_rt_sigprocmask, 2, &old, 0, 8);
}

static inline void nag_copy(void *to, const void *from, size_t bytes) {
  __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
}
static inline void nag_zero(void *to, size_t bytes) {
  __asm__ volatile("rep stosb" : "+D"(to), "+c"(bytes) : "a"(0) : "memory");
}

#endif
