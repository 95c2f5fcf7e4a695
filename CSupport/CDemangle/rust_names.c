// SPDX-License-Identifier: Apache-2.0

#define _GNU_SOURCE  // memrchr
#include "rust_names.h"

#include <string.h>

// Of nested productions: rustc-demangle's bound is the same, and each needs some 200 bytes of stack.
enum { deepest = 500 };
// Of all productions: the longest names of rustc's own crates need some hundreds.
enum { most_steps = 1 << 16 };
bool ndem_rust_enter(ndem_rust *rust) {
  if (rust->text->is_full || rust->depth == deepest || rust->steps == most_steps)
    rust->has_failed = true;
  if (rust->has_failed) return false;
  rust->depth++;
  rust->steps++;
  return true;
}

void ndem_rust_leave(ndem_rust *rust) { rust->depth--; }

const char *ndem_rust_follow(ndem_rust *rust) {
  const char *from = rust->at - 1;
  uint64_t place = ndem_rust_base62(rust);
  if (place >= (uint64_t)(from - rust->start)) rust->has_failed = true;
  if (rust->has_failed || rust->is_silent) return NULL;
  const char *back = rust->at;
  rust->at = rust->start + place;
  return back;
}

void ndem_rust_print_referred(ndem_rust *rust, void (*print)(ndem_rust *)) {
  const char *back = ndem_rust_follow(rust);
  if (back == NULL) return;
  print(rust);
  rust->at = back;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

char ndem_rust_peek(const ndem_rust *rust) { return rust->at < rust->end ? *rust->at : 0; }

char ndem_rust_next(ndem_rust *rust) { return rust->at < rust->end ? *rust->at++ : 0; }

bool ndem_rust_take(ndem_rust *rust, char letter) {
  if (ndem_rust_peek(rust) != letter) return false;
  rust->at++;
  return true;
}

static int base62_digit(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'z') return c - 'a' + 10;
  return c >= 'A' && c <= 'Z' ? c - 'A' + 36 : -1;
}

uint64_t ndem_rust_base62(ndem_rust *rust) {
  if (ndem_rust_take(rust, '_')) return 0;
  uint64_t value = 0;
  while (!ndem_rust_take(rust, '_')) {
    int digit = base62_digit(ndem_rust_next(rust));
    if (digit < 0 || __builtin_mul_overflow(value, 62, &value)
        || __builtin_add_overflow(value, (uint64_t)digit, &value)) {
      rust->has_failed = true;
      return 0;
    }
  }
  if (value == UINT64_MAX) rust->has_failed = true;
  return value + 1;
}

uint64_t ndem_rust_optional_base62(ndem_rust *rust, char tag) {
  if (!ndem_rust_take(rust, tag)) return 0;
  uint64_t value = ndem_rust_base62(rust);
  if (value == UINT64_MAX) rust->has_failed = true;
  return value + 1;
}

ndem_rust_identifier ndem_rust_read_identifier(ndem_rust *rust) {
  ndem_rust_identifier identifier = {NULL, NULL, 0, 0};
  bool is_unicode = ndem_rust_take(rust, 'u');
  size_t length = 0, available;
  if (!is_digit(ndem_rust_peek(rust))) rust->has_failed = true;
  // A number begins with 0 only if it is 0.
  bool is_zero = ndem_rust_take(rust, '0');
  while (!is_zero && is_digit(ndem_rust_peek(rust)) && length <= 4096)
    length = 10 * length + (size_t)(ndem_rust_next(rust) - '0');
  ndem_rust_take(rust, '_');  // it keeps the number apart from a name that begins with a digit or `_`
  available = (size_t)(rust->end - rust->at);
  if (length > available) rust->has_failed = true;
  if (rust->has_failed) return identifier;
  const char *bytes = rust->at;
  rust->at += length;
  identifier.ascii = bytes;
  identifier.ascii_length = length;
  if (!is_unicode) return identifier;
  // What is not ASCII stands behind the last `_`.
  const char *mark = memrchr(bytes, '_', length);
  identifier.ascii_length = mark != NULL ? (size_t)(mark - bytes) : 0;
  identifier.punycode = mark != NULL ? mark + 1 : bytes;
  identifier.punycode_length = length - (size_t)(identifier.punycode - bytes);
  if (identifier.punycode_length == 0) rust->has_failed = true;
  return identifier;
}

void ndem_rust_put(ndem_rust *rust, const char *string) {
  if (!rust->is_silent) ndem_append_string(rust->text, string);
}

void ndem_rust_put_number(ndem_rust *rust, uint64_t number) {
  if (!rust->is_silent) ndem_append_number(rust->text, number);
}

// Punycode, RFC 3492. Its parameters are those of section 5.
enum { base = 36, t_min = 1, t_max = 26, skew = 38, damp = 700, first_bias = 72, first_point = 128 };

static uint32_t adapted(uint32_t delta, uint32_t count, bool is_first) {
  delta /= is_first ? damp : 2;
  delta += delta / count;
  uint32_t k = 0;
  for (; delta > (base - t_min) * t_max / 2; k += base) delta /= base - t_min;
  return k + (base - t_min + 1) * delta / (delta + skew);
}

// The next of punycode's numbers, added to *index; false at damage or if it is too large.
static bool add_number(const char **at, const char *end, uint32_t bias, uint32_t *index) {
  uint32_t weight = 1;
  for (uint32_t k = base;; k += base) {
    if (*at == end) return false;
    char c = *(*at)++;
    uint32_t digit = is_digit(c) ? (uint32_t)(c - '0') + 26 : (uint32_t)(c - 'a');
    if (digit >= base) return false;
    uint32_t part;
    if (__builtin_mul_overflow(digit, weight, &part)
        || __builtin_add_overflow(*index, part, index))
      return false;
    uint32_t threshold = k <= bias + t_min ? t_min : k >= bias + t_max ? t_max : k - bias;
    if (digit < threshold) return true;
    if (__builtin_mul_overflow(weight, base - threshold, &weight)) return false;
  }
}

enum { longest_identifier = 256 };

// The code points of an identifier, at most `longest_identifier`; 0 at damage.
static size_t decode(ndem_rust_identifier identifier, uint32_t *points) {
  size_t count = identifier.ascii_length;
  if (count >= longest_identifier) return 0;
  for (size_t i = 0; i < count; i++) points[i] = (unsigned char)identifier.ascii[i];
  const char *at = identifier.punycode, *end = at + identifier.punycode_length;
  uint32_t point = first_point, bias = first_bias, index = 0;
  while (at < end) {
    uint32_t before = index;
    if (count == longest_identifier || !add_number(&at, end, bias, &index)) return 0;
    count++;
    bias = adapted(index - before, (uint32_t)count, before == 0 && point == first_point);
    if (__builtin_add_overflow(point, index / (uint32_t)count, &point)) return 0;
    index %= (uint32_t)count;
    memmove(points + index + 1, points + index, (count - 1 - index) * sizeof *points);
    points[index++] = point;
  }
  return count;
}

void ndem_rust_put_identifier(ndem_rust *rust, ndem_rust_identifier identifier) {
  if (rust->is_silent || rust->has_failed) return;
  if (identifier.punycode == NULL)
    return ndem_append(rust->text, identifier.ascii, identifier.ascii_length);
  uint32_t points[longest_identifier];
  size_t count = decode(identifier, points);
  if (count == 0) rust->has_failed = true;
  for (size_t i = 0; i < count; i++)
    if (!ndem_append_character(rust->text, points[i])) rust->has_failed = true;
}
