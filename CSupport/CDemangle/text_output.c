// SPDX-License-Identifier: Apache-2.0

#include "text_output.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void ndem_append(ndem_text *text, const char *bytes, size_t length) {
  if (text->is_full || length >= text->capacity - text->length) {
    text->is_full = true;
    return;
  }
  memcpy(text->bytes + text->length, bytes, length);
  text->length += length;
}

void ndem_append_string(ndem_text *text, const char *string) {
  ndem_append(text, string, strlen(string));
}

void ndem_append_number(ndem_text *text, uint64_t number) {
  char digits[24];
  ndem_append(text, digits, (size_t)snprintf(digits, sizeof digits, "%" PRIu64, number));
}

bool ndem_append_character(ndem_text *text, uint32_t point) {
  if (point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) return false;
  char bytes[4];
  size_t length = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
  static const unsigned char heads[] = {0, 0, 0xc0, 0xe0, 0xf0};
  for (size_t i = length - 1; i > 0; i--, point >>= 6) bytes[i] = (char)(0x80 | (point & 0x3f));
  bytes[0] = (char)(heads[length] | point);
  ndem_append(text, bytes, length);
  return true;
}
