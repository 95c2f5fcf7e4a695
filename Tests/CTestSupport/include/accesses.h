// SPDX-License-Identifier: Apache-2.0
//
// One memory access each, of one known instruction: what tests use where the width, the
// direction or the lock of an access is the point, and a compiler might choose another.

#ifndef CTS_ACCESSES_H
#define CTS_ACCESSES_H

#include <stdbool.h>
#include <stdint.h>

static inline uint8_t cts_load8(const volatile void *at) {
  uint8_t value;
  __asm__ volatile("movb (%1), %0" : "=q"(value) : "r"(at) : "memory");
  return value;
}
static inline uint16_t cts_load16(const volatile void *at) {
  uint16_t value;
  __asm__ volatile("movw (%1), %0" : "=r"(value) : "r"(at) : "memory");
  return value;
}
static inline uint32_t cts_load32(const volatile void *at) {
  uint32_t value;
  __asm__ volatile("movl (%1), %0" : "=r"(value) : "r"(at) : "memory");
  return value;
}
static inline uint64_t cts_load64(const volatile void *at) {
  uint64_t value;
  __asm__ volatile("movq (%1), %0" : "=r"(value) : "r"(at) : "memory");
  return value;
}
static inline void cts_store8(volatile void *at, uint8_t value) {
  __asm__ volatile("movb %0, (%1)" : : "q"(value), "r"(at) : "memory");
}
static inline void cts_store16(volatile void *at, uint16_t value) {
  __asm__ volatile("movw %0, (%1)" : : "r"(value), "r"(at) : "memory");
}
static inline void cts_store32(volatile void *at, uint32_t value) {
  __asm__ volatile("movl %0, (%1)" : : "r"(value), "r"(at) : "memory");
}
static inline void cts_store64(volatile void *at, uint64_t value) {
  __asm__ volatile("movq %0, (%1)" : : "r"(value), "r"(at) : "memory");
}
/// `lock cmpxchg`: stores `value` if `expected` stands there. Returns what stood there.
static inline uint32_t cts_lock_cmpxchg32(volatile void *at, uint32_t expected, uint32_t value) {
  __asm__ volatile("lock cmpxchgl %2, (%1)"
                   : "+a"(expected) : "r"(at), "r"(value) : "memory", "cc");
  return expected;
}
static inline uint32_t cts_cmpxchg32(volatile void *at, uint32_t expected, uint32_t value) {
  __asm__ volatile("cmpxchgl %2, (%1)"
                   : "+a"(expected) : "r"(at), "r"(value) : "memory", "cc");
  return expected;
}
static inline uint32_t cts_xchg32(volatile void *at, uint32_t value) {
  __asm__ volatile("xchgl %0, (%1)" : "+r"(value) : "r"(at) : "memory");
  return value;
}
static inline void cts_or32(volatile void *at, uint32_t bits) {
  __asm__ volatile("orl %0, (%1)" : : "r"(bits), "r"(at) : "memory", "cc");
}
static inline void cts_lock_or32(volatile void *at, uint32_t bits) {
  __asm__ volatile("lock orl %0, (%1)" : : "r"(bits), "r"(at) : "memory", "cc");
}
/// `rep movsb`: one access for each byte at either end.
static inline void cts_copy_bytes(volatile void *to, const volatile void *from, uint64_t count) {
  __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
}

#endif
