// SPDX-License-Identifier: Apache-2.0
//
// The code that runs before dlopen returns and after dlclose was called. A patcher that converts a
// module's call sites before its first function runs must be done before specimen_construct enters
// mcount.

#include "specimen.h"

long specimen_constructed;
long *specimen_destroyed_at;

void specimen_count(long *counter);
void specimen_count(long *counter) { ++*counter; }

__attribute__((constructor)) void specimen_construct(void) {
  for (int i = 0; i < SPECIMEN_CONSTRUCTOR_CALLS; i++) specimen_count(&specimen_constructed);
}

__attribute__((destructor)) void specimen_destroy(void) {
  if (specimen_destroyed_at) specimen_count(specimen_destroyed_at);
}
