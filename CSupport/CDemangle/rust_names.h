// SPDX-License-Identifier: Apache-2.0
//
// Where the v0 demangler is in its name, and the smallest things that a name is made of: letters,
// numbers, identifiers (RFC 2603, "Syntax of mangled names").

#ifndef RUST_NAMES_H
#define RUST_NAMES_H

#include "text_output.h"

typedef struct ndem_rust {
  const char *start;   ///< behind `_R`: back references count from here
  const char *at, *end;
  ndem_text *text;
  bool is_silent;      ///< what is read is not printed: the place of an impl
  bool has_failed;     ///< it is no name, or no bounded one: nothing more is read
  unsigned depth;      ///< of the productions that are open
  unsigned steps;      ///< productions so far
  uint64_t lifetimes;  ///< that the binders around name
} ndem_rust;

/// Part of a path. Both parts point into the mangled name.
typedef struct ndem_rust_identifier {
  const char *ascii, *punycode;
  size_t ascii_length, punycode_length;
} ndem_rust_identifier;

/// Begins a production; false if nothing more is to be read: the name is damaged, or a bound is reached.
bool ndem_rust_enter(ndem_rust *rust);
void ndem_rust_leave(ndem_rust *rust);

/// Behind `B`: goes where it leads and returns the place to come back to; NULL if it is not to be
/// followed. It must lead backwards.
const char *ndem_rust_follow(ndem_rust *rust);
/// Behind `B`: prints with `print` what it leads to.
void ndem_rust_print_referred(ndem_rust *rust, void (*print)(ndem_rust *));
void ndem_rust_print_constant(ndem_rust *rust);

/// The next letter, 0 at the end.
char ndem_rust_peek(const ndem_rust *rust);
char ndem_rust_next(ndem_rust *rust);
/// Whether the next letter is `letter`, which is then taken.
bool ndem_rust_take(ndem_rust *rust, char letter);

/// `_` is 0, `0_` is 1, `Z_` is 62.
uint64_t ndem_rust_base62(ndem_rust *rust);
/// 0 without `tag`; else one more than the number behind it.
uint64_t ndem_rust_optional_base62(ndem_rust *rust, char tag);
ndem_rust_identifier ndem_rust_read_identifier(ndem_rust *rust);

void ndem_rust_put(ndem_rust *rust, const char *string);
void ndem_rust_put_number(ndem_rust *rust, uint64_t number);
void ndem_rust_put_identifier(ndem_rust *rust, ndem_rust_identifier identifier);

#endif
