// SPDX-License-Identifier: Apache-2.0
// Every kind of argument and result, and functions with every kind of frame. If a call site or a
// hooked return spoiled a register, one of the results would change.
#include <alloca.h>
#include <complex.h>
#include <fenv.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define KEEP __attribute__((noinline, noclone))

typedef struct large { long fields[40]; } large;
typedef struct pair { long first; double second; } pair;
typedef struct two { long first, second; } two;
typedef double vector __attribute__((vector_size(32)));

KEEP double variadic(int count, ...) {
  va_list list;
  va_start(list, count);
  double sum = 0;
  for (int i = 0; i < count; i++) sum += va_arg(list, double) + va_arg(list, int);
  va_end(list);
  return sum;
}
KEEP double floats(double a, float b, double c, float d, double e, double f, double g, double h) {
  return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h;
}
KEEP long double extended(long double a, long double b) { return a * b + 0.5L; }
KEEP long double _Complex both(long double a) { return a + a * 2 * I; }
KEEP double _Complex pairwise(double a) { return a + a * 3 * I; }
KEEP large big(long seed) {
  large result;
  for (int i = 0; i < 40; i++) result.fields[i] = seed * i;
  return result;
}
KEEP pair mixed(long a, double b) { return (pair){a + 1, b + 0.25}; }
KEEP two longs(long a, long b) { return (two){b, a}; }
KEEP unsigned __int128 wide(unsigned long a) { return (unsigned __int128)a << 64 | ~a; }
KEEP long ten(long a, long b, long c, long d, long e, long f, long g, long h, long i, long j) {
  return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h + 9 * i + 10 * j;
}
#ifdef __x86_64__
__attribute__((target("avx"))) KEEP vector ymm(vector a, vector b, vector c, vector d, vector e,
                                               vector f, vector g, vector h) {
  return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h;
}
__attribute__((target("avx"))) KEEP double vectors(void) {
  vector v[8];
  for (int i = 0; i < 8; i++)
    for (int j = 0; j < 4; j++) v[i][j] = i * 4 + j;
  vector sum = ymm(v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]);
  return sum[0] + 10 * sum[1] + 100 * sum[2] + 1000 * sum[3];
}
#endif
KEEP long aligned_frame(int bytes, long a) {
  _Alignas(64) char place[128];
  char *more = alloca((size_t)bytes);
  memset(place, (int)a, sizeof place);
  memset(more, (int)a + 1, (size_t)bytes);
  return ((unsigned long)place % 64) + place[5] + more[bytes - 1] + a;
}
#if defined(__GNUC__) && !defined(__clang__)
KEEP long apply(long (*function)(long), long value) { return function(value); }
KEEP long nested(long base) {
  __attribute__((noinline)) long add(long value) { return value + base; }
  return apply(add, 5) + add(6);
}
#else
KEEP long nested(long base) { return 2 * base + 11; }
#endif

// A caller that keeps many values alive across a call of a function that the compiler knows.
static KEEP unsigned long small(unsigned long a) { return a ^ 0x5555; }
KEEP unsigned long pressure(const unsigned long *v) {
  unsigned long a = v[0] * 3, b = v[1] * 5, c = v[2] * 7, d = v[3] * 9, e = v[4] * 11, f = v[5] * 13,
                g = v[6] * 15, h = v[7] * 17, i = v[8] * 19, j = v[9] * 21, k = v[10] * 23;
  unsigned long x = small(v[11]);
  return x + (a ^ (b + (c ^ (d + (e ^ (f + (g ^ (h + (i ^ (j + k))))))))));
}
KEEP unsigned long tail(unsigned long a) { return small(a + 1); }

KEEP void all(void) {
  printf("%g %g\n", variadic(3, 1.5, 2, 2.5, 3, 3.5, 4), floats(1, 2, 3, 4, 5, 6, 7, 8));
  printf("%Lg %Lg %g\n", extended(1.25L, 3), cimagl(both(1.5L)) + creall(both(2)),
         cimag(pairwise(1.5)) + creal(pairwise(2)));
  large one = big(3);
  pair two_kinds = mixed(1, 2);
  two swapped = longs(4, 5);
  unsigned __int128 both_halves = wide(77);
  printf("%ld %ld %g %ld %ld %lx %lx\n", one.fields[39], two_kinds.first, two_kinds.second,
         swapped.first, swapped.second, (unsigned long)(both_halves >> 64),
         (unsigned long)both_halves);
  printf("%ld\n", ten(1, 2, 3, 4, 5, 6, 7, 8, 9, 10));
  if (__builtin_cpu_supports("avx")) printf("%g\n", vectors());
  printf("%ld %ld\n", aligned_frame(33, 7), nested(100));
  unsigned long v[12];
  for (int i = 0; i < 12; i++) v[i] = (unsigned long)i * 12345 + 1;
  printf("%lx %lx\n", pressure(v), tail(9));
}

int main(void) {
  fesetround(FE_UPWARD);
  double before = 1.0;
  for (volatile int i = 0; i < 3; i++) before /= 3;
  for (int i = 0; i < 200; i++) all();
  printf("%d %.17g\n", fegetround() == FE_UPWARD, before);
  printf("calls all 200\ncalls big 200\ncalls ten 200\ncalls variadic 200\ncalls nested 200\n");
  return 0;
}
