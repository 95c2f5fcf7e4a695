// SPDX-License-Identifier: Apache-2.0
//
// Lines of signatures, in memory that is shared with the parent.

#include "signatures.h"

enum { LONGEST = 200 };  // name

void nsl_put(nsl_reader *r, const char *text) {
  for (; *text != 0; text++) {
    if (r->at >= NSL_SIGNATURE_BYTES) {
      r->is_cut = true;
      return;
    }
    r->shared->text[r->at++] = *text;
  }
}

// Names are the file's: no tab or newline gets into a line.
void nsl_put_name(nsl_reader *r, const char *name) {
  char tidy[LONGEST + 1];
  size_t length = 0;
  for (; name != NULL && name[length] != 0 && length < LONGEST; length++)
    tidy[length] = (unsigned char)name[length] < 0x20 || name[length] == 0x7f ? '?' : name[length];
  tidy[length] = 0;
  nsl_put(r, tidy);
}

void nsl_end_line(nsl_reader *r) {
  nsl_put(r, "\n");
  if (!r->is_cut) __atomic_store_n(&r->shared->used, r->at, __ATOMIC_RELEASE);
  r->at = r->shared->used;
  r->is_cut = false;
}
