// SPDX-License-Identifier: Apache-2.0
//
// The text that the demanglers of this folder make: bounded, and full for good once it is full.

#ifndef TEXT_OUTPUT_H
#define TEXT_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ndem_text {
  char *bytes;
  size_t capacity;  ///< with the NUL at the end
  size_t length;
  bool is_full;     ///< something did not fit: what is there is worth nothing
} ndem_text;

void ndem_append(ndem_text *text, const char *bytes, size_t length);
void ndem_append_string(ndem_text *text, const char *string);
void ndem_append_number(ndem_text *text, uint64_t number);

/// A code point as UTF-8; false for a surrogate or a number beyond Unicode.
bool ndem_append_character(ndem_text *text, uint32_t point);

#endif
