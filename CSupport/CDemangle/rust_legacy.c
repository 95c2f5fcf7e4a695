// SPDX-License-Identifier: Apache-2.0
//
// rustc's first mangling: the form of a C++ nested name, `_ZN`, then each part with its length before
// it, then `E`. The last part is a hash. Characters that linkers did not take are spelt out:
// `_$LT$impl$u20$core..fmt..Debug$GT$` is `<impl core::fmt::Debug>`.

#include "rust.h"

#include <stdlib.h>
#include <string.h>

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_hexadecimal(char c) { return is_digit(c) || (c >= 'a' && c <= 'f'); }

// A length and the part behind it. NULL if there is none, or if it is cut off; else the part's first
// byte, and *at behind its last.
static const char *next_part(const char **at, size_t *length) {
  if (!is_digit(**at) || **at == '0') return NULL;
  size_t count = 0;
  for (; is_digit(**at); ++*at) {
    count = 10 * count + (size_t)(**at - '0');
    if (count > 4096) return NULL;
  }
  const char *part = *at;
  if (memchr(part, 0, count) != NULL) return NULL;
  *at += count;
  *length = count;
  return part;
}

// `h` and sixteen digits, at least five of them different: a word that somebody chose hardly ever is.
static bool is_hash(const char *part, size_t length) {
  if (length != 17 || part[0] != 'h') return false;
  unsigned seen = 0;
  for (size_t i = 1; i < length; i++) {
    if (!is_hexadecimal(part[i])) return false;
    seen |= 1u << (is_digit(part[i]) ? part[i] - '0' : part[i] - 'a' + 10);
  }
  return __builtin_popcount(seen) >= 5;
}

// Where the parts begin; NULL if the name has another form.
static const char *first_part(const char *mangled) {
  return strncmp(mangled, "_ZN", 3) == 0 ? mangled + 3 : NULL;
}

bool ndem_is_rust_legacy(const char *mangled) {
  const char *at = first_part(mangled);
  if (at == NULL) return false;
  const char *part = NULL, *last = NULL;
  size_t length = 0, last_length = 0, count = 0;
  while ((part = next_part(&at, &length)) != NULL) {
    last = part;
    last_length = length;
    count++;
  }
  return *at == 'E' && (at[1] == 0 || at[1] == '.') && count >= 2 && is_hash(last, last_length);
}

// The character that `$…$` at `at` stands for, and its length with both `$`; 0 for none.
static size_t escape(const char *at, size_t available, uint32_t *point) {
  static const struct { char name[3]; char character; } escapes[] = {
    {"SP", '@'}, {"BP", '*'}, {"RF", '&'}, {"LT", '<'}, {"GT", '>'}, {"LP", '('}, {"RP", ')'},
    {"C", ','},
  };
  const char *end = available > 1 ? memchr(at + 1, '$', available - 1) : NULL;
  if (end == NULL) return 0;
  size_t length = (size_t)(end - at) - 1;
  for (size_t i = 0; i < sizeof escapes / sizeof escapes[0]; i++)
    if (strlen(escapes[i].name) == length && memcmp(at + 1, escapes[i].name, length) == 0) {
      *point = (uint32_t)escapes[i].character;
      return length + 2;
    }
  if (at[1] != 'u' || length < 2 || length > 7) return 0;
  *point = 0;
  for (const char *digit = at + 2; digit < end; digit++) {
    if (!is_hexadecimal(*digit)) return 0;
    *point = *point << 4 | (uint32_t)(is_digit(*digit) ? *digit - '0' : *digit - 'a' + 10);
  }
  // A control character is nothing that an identifier or a type can hold.
  return *point < 0x20 || *point == 0x7f ? 0 : length + 2;
}

static void append_part(const char *part, size_t length, ndem_text *text) {
  const char *end = part + length;
  // A part must not begin with `$`: `_` was put before it.
  if (length > 1 && part[0] == '_' && part[1] == '$') part++;
  while (part < end) {
    size_t available = (size_t)(end - part);
    uint32_t point = 0;
    size_t escaped = *part == '$' ? escape(part, available, &point) : 0;
    if (escaped > 0 && ndem_append_character(text, point)) {
      part += escaped;
    } else if (available > 1 && part[0] == '.' && part[1] == '.') {
      ndem_append_string(text, "::");
      part += 2;
    } else {
      ndem_append(text, part++, 1);
    }
  }
}

bool ndem_demangle_rust_legacy(const char *mangled, ndem_text *text) {
  const char *at = first_part(mangled);
  size_t length = 0, next_length = 0;
  const char *part = at != NULL ? next_part(&at, &length) : NULL;
  bool is_first = true;
  while (part != NULL) {
    const char *next = next_part(&at, &next_length);
    if (next == NULL) break;  // `part` is the hash
    if (!is_first) ndem_append_string(text, "::");
    append_part(part, length, text);
    is_first = false;
    part = next;
    length = next_length;
  }
  return !is_first && ndem_append_rust_suffix(at + 1, text);
}

bool ndem_append_rust_suffix(const char *suffix, ndem_text *text) {
  if (*suffix == 0) return true;
  if (*suffix != '.') return false;
  for (const char *at = suffix; *at != 0; at++)
    if (*at <= ' ' || *at > '~') return false;
  static const char copy[] = ".llvm.";
  size_t number = strncmp(suffix, copy, sizeof copy - 1) == 0 ? sizeof copy - 1 : 0;
  if (number > 0 && suffix[number + strspn(suffix + number, "0123456789ABCDEFabcdef@")] == 0)
    return true;
  ndem_append_string(text, suffix);
  return true;
}
