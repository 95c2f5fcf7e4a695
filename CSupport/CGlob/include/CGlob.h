// SPDX-License-Identifier: Apache-2.0
//
// Patterns of ftrace's filters, for the agent (thread names) and the recorder (functions, modules):
//
//   *        any text, none too
//   ?        one character
//   [a-z]    one character of a class; its first ] is a member; [!a-z] one that is not of it
//   \c       the character c
//
// As in the kernel, a class that is never closed is a literal [, as in operator[]. Patterns match
// bytes.
//
// The agent runs this while a traced thread has arguments in vector registers, and before libc is
// set up. So every function is inline, calls nothing, allocates nothing, and is compiled with its
// user's flags.

#ifndef CGLOB_H
#define CGLOB_H

#include <stdbool.h>
#include <stddef.h>

/// What is computed from a pattern once, before comparisons.
typedef struct ngl_shape {
  /// No class is closed at or behind this index, so there a search is unnecessary.
  size_t closing_end;
  /// The pattern has none of * ? [ \: it matches only itself.
  bool is_literal;
} ngl_shape;

static inline ngl_shape ngl_shape_of(const unsigned char *pattern, size_t length) {
  ngl_shape shape = {0, true};
  for (size_t i = 0; i < length; i++) {
    unsigned char byte = pattern[i];
    if (byte == '*' || byte == '?' || byte == '[' || byte == '\\') shape.is_literal = false;
    if (byte == ']') shape.closing_end = i + 1;
  }
  return shape;
}

// Index of the ] that closes the class opened at `at`; 0: it is not closed.
static inline size_t ngl_class_end(const unsigned char *pattern, size_t length, ngl_shape shape,
                                   size_t at) {
  size_t i = at + 1;
  if (i < length && pattern[i] == '!') i++;
  for (i++; i < shape.closing_end; i++)
    if (pattern[i] == ']') return i;
  return 0;
}

static inline bool ngl_is_in_class(const unsigned char *pattern, size_t at, size_t end,
                                   unsigned char byte) {
  bool is_inverted = pattern[at] == '!';
  if (is_inverted) at++;
  while (at < end) {
    unsigned char first = pattern[at], last = first;
    bool is_range = at + 2 < end && pattern[at + 1] == '-';
    if (is_range) last = pattern[at + 2];
    if (first <= byte && byte <= last) return !is_inverted;
    at += is_range ? 3 : 1;
  }
  return is_inverted;
}

// How many bytes of the pattern at `at` match `byte`; 0: they do not match.
static inline size_t ngl_step(const unsigned char *pattern, size_t length, ngl_shape shape, size_t at,
                              unsigned char byte) {
  if (at >= length) return 0;
  if (pattern[at] == '?') return 1;
  if (pattern[at] == '[') {
    size_t end = ngl_class_end(pattern, length, shape, at);
    if (end > 0) return ngl_is_in_class(pattern, at + 1, end, byte) ? end + 1 - at : 0;
  }
  if (pattern[at] == '\\' && at + 1 < length) return pattern[at + 1] == byte ? 2 : 0;
  return pattern[at] == byte ? 1 : 0;
}

/// Whether the whole of `name` matches the whole of `pattern`, of which `shape` is `ngl_shape_of`.
///
/// On a mismatch it goes back to the last star and lets that match one byte more. There is no
/// recursion, and at most as many steps as the product of the lengths.
static inline bool ngl_matches(const unsigned char *pattern, size_t length, ngl_shape shape,
                               const unsigned char *name, size_t name_length) {
  size_t at = 0, next = 0, behind_star = 0, from = 0;
  if (shape.is_literal && length != name_length) return false;
  while (next < name_length || at < length) {
    size_t width;
    if (at < length && pattern[at] == '*') {
      behind_star = ++at;
      from = next;
    } else if (next < name_length
               && (width = ngl_step(pattern, length, shape, at, name[next])) > 0) {
      at += width;
      next++;
    } else {
      if (behind_star == 0 || from >= name_length) return false;
      at = behind_star;
      next = ++from;
    }
  }
  return true;
}

/// The bytes of `text` before its NUL, at most `most`.
static inline size_t ngl_length(const char *text, size_t most) {
  size_t length = 0;
  while (length < most && text[length] != 0) length++;
  return length;
}

#endif
