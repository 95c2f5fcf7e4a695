// SPDX-License-Identifier: Apache-2.0
//
// What libSpecimenOther.so exports: a module of libSpecimen.so's span, with other bytes wherever
// libSpecimen.so has a call site.

#ifndef OTHER_H
#define OTHER_H

#include <stdint.h>

int other_multiply(int a, int b);
uint64_t other_hash(const char *text);
uint64_t other_factorial(unsigned n);
void other_page_one(void);
void other_page_two(void);

#endif
