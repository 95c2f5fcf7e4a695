// SPDX-License-Identifier: Apache-2.0
//
// Constants in a v0 name: numbers, truth values and characters. A name with another kind stays mangled:
// no stable syntax of Rust leads to one.

#include "rust_names.h"

// Digits up to `_`; returns how many, and their value where it fits.
static size_t read_hexadecimal(ndem_rust *rust, const char **digits, uint64_t *value) {
  *digits = rust->at;
  *value = 0;
  size_t count = 0;
  for (; !ndem_rust_take(rust, '_'); count++) {
    char c = ndem_rust_next(rust);
    bool is_decimal = c >= '0' && c <= '9';
    if (!is_decimal && !(c >= 'a' && c <= 'f')) {
      rust->has_failed = true;
      return 0;
    }
    *value = *value << 4 | (uint64_t)(is_decimal ? c - '0' : c - 'a' + 10);
  }
  if (count == 0) rust->has_failed = true;
  return count;
}

static void print_character(ndem_rust *rust, uint64_t value) {
  const char escaped[] = {'\\', value == '\n' ? 'n' : value == '\r' ? 'r' : value == '\t' ? 't'
                              : (char)value, 0};
  ndem_rust_put(rust, "'");
  if (value == '\n' || value == '\r' || value == '\t' || value == '\'' || value == '\\') {
    ndem_rust_put(rust, escaped);
  } else if (value < 0x20 || value == 0x7f) {
    static const char hexadecimal[] = "0123456789abcdef";
    const char code[] = {'\\', 'u', '{', hexadecimal[value >> 4], hexadecimal[value & 15], '}', 0};
    ndem_rust_put(rust, value < 16 ? "\\u{" : code);
    if (value < 16) ndem_rust_put(rust, (const char[]){hexadecimal[value], '}', 0});
  } else if (!rust->is_silent
             && (value > UINT32_MAX || !ndem_append_character(rust->text, (uint32_t)value))) {
    rust->has_failed = true;
  }
  ndem_rust_put(rust, "'");
}

static void print_number(ndem_rust *rust) {
  const char *digits;
  uint64_t value;
  size_t count = read_hexadecimal(rust, &digits, &value);
  if (rust->has_failed) return;
  if (count <= 16) return ndem_rust_put_number(rust, value);
  ndem_rust_put(rust, "0x");
  if (!rust->is_silent) ndem_append(rust->text, digits, count);
}

void ndem_rust_print_constant(ndem_rust *rust) {
  if (!ndem_rust_enter(rust)) return;
  const char *digits;
  uint64_t value;
  char tag = ndem_rust_next(rust);
  switch (tag) {
    case 'B': ndem_rust_print_referred(rust, ndem_rust_print_constant); break;
    case 'p': ndem_rust_put(rust, "_"); break;
    case 'a': case 's': case 'l': case 'x': case 'n': case 'i':
      if (ndem_rust_take(rust, 'n')) ndem_rust_put(rust, "-");
      print_number(rust);
      break;
    case 'h': case 't': case 'm': case 'y': case 'o': case 'j': print_number(rust); break;
    case 'b':
    case 'c':
      if (read_hexadecimal(rust, &digits, &value) > 8 || (tag == 'b' && value > 1))
        rust->has_failed = true;
      if (rust->has_failed) break;
      if (tag == 'c') print_character(rust, value);
      else ndem_rust_put(rust, value == 1 ? "true" : "false");
      break;
    default: rust->has_failed = true;
  }
  ndem_rust_leave(rust);
}
