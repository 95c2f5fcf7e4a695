// SPDX-License-Identifier: Apache-2.0
//
// What libSpecimen.so exports. A program loads it with dlopen and looks up its names with dlsym;
// this header gives the types. Every function here contains one call of mcount, `e8 rel32`.

#ifndef SPECIMEN_H
#define SPECIMEN_H

#include <stddef.h>
#include <stdint.h>

typedef struct specimen_division {
  int64_t quotient, remainder, divisor;
} specimen_division;

int specimen_add(int a, int b);
/// The nth Fibonacci number by double recursion: one call is many.
uint64_t specimen_fib(unsigned n);
/// CRC-32 (IEEE 802.3, reflected): "123456789" gives 0xcbf43926.
uint32_t specimen_crc32(const void *bytes, size_t length);
/// Eight floating-point arguments, all in vector registers: mcount has to leave them alone.
double specimen_sum_doubles(double a, double b, double c, double d, double e, double f, double g,
                            double h);
/// The largest of `count` ints. Variadic: al says how many vector registers hold arguments.
int specimen_max(int count, ...);
/// Returned through a hidden pointer in rdi.
specimen_division specimen_divide(int64_t dividend, int64_t divisor);
unsigned specimen_gcd(unsigned a, unsigned b);
size_t specimen_length(const char *text);
void specimen_reverse(char *text);
void specimen_sort(int *values, size_t count);
/// Six arguments in registers and two on the stack.
int specimen_sum_eight(int a, int b, int c, int d, int e, int f, int g, int h);
unsigned specimen_popcount(uint64_t value);
unsigned specimen_collatz(uint64_t start);
int specimen_apply(int (*function)(int, int), int a, int b);

// One int in, one int out: what threads call without end in the scene `live`.
int specimen_square(int n);
int specimen_negate(int n);
int specimen_parity(int n);
int specimen_triangle(int n);
int specimen_digits(int n);      ///< decimal digits
int specimen_fibonacci(int n);   ///< by double recursion

/// How many of the constructor's calls arrived; it makes SPECIMEN_CONSTRUCTOR_CALLS.
extern long specimen_constructed;
enum { SPECIMEN_CONSTRUCTOR_CALLS = 3 };
/// Where the destructor counts its one call: memory of the host program, which outlives the module.
/// NULL: it does not count.
extern long *specimen_destroyed_at;

// Empty functions on one page, a slot of 16 bytes each. Their call of mcount is at +4, and
// therefore at the page offset that the e1000e flash block gives to the register of that name
// (CUnloadLab/include/e1000e.h). A filler's call falls on no register.
void specimen_at_hsfsts(void);      // 0x04, HSFSTS and HSFCTL
void specimen_filler_14(void);
void specimen_filler_24(void);
void specimen_filler_34(void);
void specimen_filler_44(void);
void specimen_at_freg0(void);       // 0x54
void specimen_filler_64(void);
void specimen_at_pr0(void);         // 0x74
void specimen_after_flash_page(void);  // the first function of the next page

#endif
