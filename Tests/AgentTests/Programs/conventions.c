// SPDX-License-Identifier: Apache-2.0
//
// Functions with other calling conventions than the usual one: what their callers keep in registers
// that the callee preserves, and arguments in registers that usually have none.

#include <stdio.h>

static volatile long sink = 1;

#define NO __attribute__((noinline))

// Calls `callee` with eight values in registers and checks them afterwards.
#define KEEPS(name, convention)                                                              \
  NO convention void name##_callee(long a) { sink = a; }                                     \
  NO long name##_caller(const long *p) {                                                     \
    long a = p[0], b = p[1], c = p[2], d = p[3], e = p[4], f = p[5], g = p[6], h = p[7];     \
    name##_callee(a);                                                                        \
    long sum = a + b * 2 + c * 3 + d * 4 + e * 5 + f * 6 + g * 7 + h * 8;                    \
    name##_callee(sum);                                                                      \
    return sum * 1000 + (a ^ b ^ c ^ d ^ e ^ f ^ g ^ h);                                     \
  }

KEEPS(usual, )
KEEPS(ms, __attribute__((ms_abi)))
#if defined(__clang__)
KEEPS(most, __attribute__((preserve_most)))
KEEPS(all, __attribute__((preserve_all)))
KEEPS(regcall, __attribute__((regcall)))
#endif

NO __attribute__((ms_abi)) long ms_sum(long a, long b, long c, long d, long e, long f) {
  return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f;
}

#if defined(__clang__) && __has_attribute(preserve_none)
NO __attribute__((preserve_none)) long none_sum(long a, long b, long c, long d, long e, long f,
                                                long g, long h, long i, long j, long k, long l) {
  return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h + 9 * i + 10 * j + 11 * k + 12 * l;
}
#endif

// A nested function gets its frame in a register that has no argument.
#if !defined(__clang__)
NO static long nested(long a) {
  long local = a;
  NO long inner(long b) { return local * 10 + b; }
  return inner(a) + inner(a + 1);
}
#endif

static int wrong;

static void check(const char *what, long result, long expected) {
  if (result == expected) return;
  printf("%s: %ld, expected %ld\n", what, result, expected);
  wrong++;
}

int main(void) {
  const long p[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  for (int i = 0; i < 1000; i++) {
    check("usual", usual_caller(p), 204008);
    check("ms_abi", ms_caller(p), 204008);
    check("ms_abi arguments", ms_sum(1, 2, 3, 4, 5, 6), 91);
#if defined(__clang__)
    check("preserve_most", most_caller(p), 204008);
    check("preserve_all", all_caller(p), 204008);
    check("regcall", regcall_caller(p), 204008);
#if __has_attribute(preserve_none)
    check("preserve_none", none_sum(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12), 650);
#endif
#else
    check("nested", nested(3), 67);
#endif
  }
  printf("wrong %d\n", wrong);
  return wrong != 0;
}
