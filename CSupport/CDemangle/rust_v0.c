// SPDX-License-Identifier: Apache-2.0
//
// rustc's second mangling, RFC 2603. A name is a path; each function below reads and prints one
// production of the RFC's grammar.
//
// A back reference reads again what stands earlier in the name, so that 100 bytes can stand for
// gigabytes. Three bounds end that: the output's capacity, and the two in rust_names.c.

#include "rust.h"
#include "rust_names.h"

#include <string.h>

// That one `for<…>` may name.
enum { most_lifetimes = 1024 };

static void print_path(ndem_rust *rust, bool is_value);
static void print_type(ndem_rust *rust);

// MARK: lists

// Up to `E`, with `separator` between; returns how many there were.
static size_t print_list(ndem_rust *rust, void (*print)(ndem_rust *), const char *separator) {
  size_t count = 0;
  for (; !rust->has_failed && !ndem_rust_take(rust, 'E'); count++) {
    if (count > 0) ndem_rust_put(rust, separator);
    print(rust);
  }
  return count;
}

// MARK: lifetimes

static void print_lifetime(ndem_rust *rust, uint64_t index) {
  if (index > rust->lifetimes) rust->has_failed = true;
  if (rust->has_failed) return;
  uint64_t depth = rust->lifetimes - index;
  const char name[] = {'\'', (char)('a' + depth % 26), 0};
  if (index == 0) return ndem_rust_put(rust, "'_");
  if (depth < 26) return ndem_rust_put(rust, name);
  ndem_rust_put(rust, "'_");
  ndem_rust_put_number(rust, depth);
}

// `for<'a, 'b> `; returns how many lifetimes it names, to be taken back behind what it is for.
static uint64_t print_binder(ndem_rust *rust) {
  uint64_t count = ndem_rust_optional_base62(rust, 'G');
  if (count > most_lifetimes) rust->has_failed = true;
  if (rust->has_failed || count == 0) return 0;
  ndem_rust_put(rust, "for<");
  for (uint64_t i = 0; i < count; i++) {
    if (i > 0) ndem_rust_put(rust, ", ");
    rust->lifetimes++;
    print_lifetime(rust, 1);
  }
  ndem_rust_put(rust, "> ");
  return count;
}

// MARK: paths

static void print_generic_argument(ndem_rust *rust) {
  if (ndem_rust_take(rust, 'L')) return print_lifetime(rust, ndem_rust_base62(rust));
  if (ndem_rust_take(rust, 'K')) return ndem_rust_print_constant(rust);
  print_type(rust);
}

// `mycrate`: the hash behind it is left out.
static void print_crate(ndem_rust *rust) {
  ndem_rust_optional_base62(rust, 's');
  ndem_rust_put_identifier(rust, ndem_rust_read_identifier(rust));
}

// `outer::inner`, `outer::{closure#0}`.
static void print_nested(ndem_rust *rust, bool is_value) {
  char space = ndem_rust_next(rust);
  bool is_special = space >= 'A' && space <= 'Z';
  if (!is_special && !(space >= 'a' && space <= 'z')) rust->has_failed = true;
  print_path(rust, is_value);
  uint64_t which = ndem_rust_optional_base62(rust, 's');
  ndem_rust_identifier name = ndem_rust_read_identifier(rust);
  bool has_name = name.ascii_length + name.punycode_length > 0;
  if (!is_special) {
    if (has_name) ndem_rust_put(rust, "::");
    return ndem_rust_put_identifier(rust, name);
  }
  const char other[] = {space, 0};
  ndem_rust_put(rust, "::{");
  ndem_rust_put(rust, space == 'C' ? "closure" : space == 'S' ? "shim" : other);
  if (has_name) ndem_rust_put(rust, ":");
  ndem_rust_put_identifier(rust, name);
  ndem_rust_put(rust, "#");
  ndem_rust_put_number(rust, which);
  ndem_rust_put(rust, "}");
}

// `<Type>`, `<Type as Trait>`.
static void print_implementation(ndem_rust *rust, bool has_place, bool has_trait) {
  if (has_place) {
    bool was_silent = rust->is_silent;
    rust->is_silent = true;
    ndem_rust_optional_base62(rust, 's');
    print_path(rust, false);
    rust->is_silent = was_silent;
  }
  ndem_rust_put(rust, "<");
  print_type(rust);
  if (has_trait) {
    ndem_rust_put(rust, " as ");
    print_path(rust, false);
  }
  ndem_rust_put(rust, ">");
}

static void print_path(ndem_rust *rust, bool is_value) {
  if (!ndem_rust_enter(rust)) return;
  const char *back;
  switch (ndem_rust_next(rust)) {
    case 'C': print_crate(rust); break;
    case 'N': print_nested(rust, is_value); break;
    case 'M': print_implementation(rust, true, false); break;
    case 'X': print_implementation(rust, true, true); break;
    case 'Y': print_implementation(rust, false, true); break;
    case 'I':
      print_path(rust, is_value);
      ndem_rust_put(rust, is_value ? "::<" : "<");
      print_list(rust, print_generic_argument, ", ");
      ndem_rust_put(rust, ">");
      break;
    case 'B':
      back = ndem_rust_follow(rust);
      if (back == NULL) break;
      print_path(rust, is_value);
      rust->at = back;
      break;
    default: rust->has_failed = true;
  }
  ndem_rust_leave(rust);
}

// MARK: types

static const char *basic_type(char tag) {
  switch (tag) {
    case 'a': return "i8";
    case 'b': return "bool";
    case 'c': return "char";
    case 'd': return "f64";
    case 'e': return "str";
    case 'f': return "f32";
    case 'h': return "u8";
    case 'i': return "isize";
    case 'j': return "usize";
    case 'l': return "i32";
    case 'm': return "u32";
    case 'n': return "i128";
    case 'o': return "u128";
    case 'p': return "_";
    case 's': return "i16";
    case 't': return "u16";
    case 'u': return "()";
    case 'v': return "...";
    case 'x': return "i64";
    case 'y': return "u64";
    case 'z': return "!";
    default: return NULL;
  }
}

static void print_reference(ndem_rust *rust, bool is_mutable) {
  ndem_rust_put(rust, "&");
  if (ndem_rust_take(rust, 'L')) {
    uint64_t lifetime = ndem_rust_base62(rust);
    if (lifetime > 0) print_lifetime(rust, lifetime);
    if (lifetime > 0) ndem_rust_put(rust, " ");
  }
  if (is_mutable) ndem_rust_put(rust, "mut ");
  print_type(rust);
}

// `extern "C" `: an ABI's name has `_` where it is written with `-`.
static void print_calling_convention(ndem_rust *rust) {
  ndem_rust_put(rust, "extern \"");
  if (ndem_rust_take(rust, 'C')) {
    ndem_rust_put(rust, "C");
  } else {
    ndem_rust_identifier name = ndem_rust_read_identifier(rust);
    if (name.punycode != NULL) rust->has_failed = true;
    for (size_t i = 0; i < name.ascii_length && !rust->has_failed; i++) {
      const char letter[] = {name.ascii[i] == '_' ? '-' : name.ascii[i], 0};
      ndem_rust_put(rust, letter);
    }
  }
  ndem_rust_put(rust, "\" ");
}

static void print_function(ndem_rust *rust) {
  uint64_t bound = print_binder(rust);
  if (ndem_rust_take(rust, 'U')) ndem_rust_put(rust, "unsafe ");
  if (ndem_rust_take(rust, 'K')) print_calling_convention(rust);
  ndem_rust_put(rust, "fn(");
  print_list(rust, print_type, ", ");
  ndem_rust_put(rust, ")");
  if (!ndem_rust_take(rust, 'u')) {
    ndem_rust_put(rust, " -> ");
    print_type(rust);
  }
  rust->lifetimes -= bound;
}

// A trait whose `<` stays open for what follows: `Iterator<`. Returns whether there is one.
static bool print_open_trait(ndem_rust *rust) {
  bool is_open = false;
  if (!ndem_rust_enter(rust)) return false;
  if (ndem_rust_take(rust, 'B')) {
    const char *back = ndem_rust_follow(rust);
    if (back != NULL) {
      is_open = print_open_trait(rust);
      rust->at = back;
    }
  } else if (ndem_rust_take(rust, 'I')) {
    print_path(rust, false);
    ndem_rust_put(rust, "<");
    print_list(rust, print_generic_argument, ", ");
    is_open = true;
  } else {
    print_path(rust, false);
  }
  ndem_rust_leave(rust);
  return is_open;
}

// `Iterator<Item = u8>`.
static void print_bound_trait(ndem_rust *rust) {
  bool is_open = print_open_trait(rust);
  while (!rust->has_failed && ndem_rust_take(rust, 'p')) {
    ndem_rust_put(rust, is_open ? ", " : "<");
    is_open = true;
    ndem_rust_put_identifier(rust, ndem_rust_read_identifier(rust));
    ndem_rust_put(rust, " = ");
    print_type(rust);
  }
  if (is_open) ndem_rust_put(rust, ">");
}

static void print_trait_object(ndem_rust *rust) {
  ndem_rust_put(rust, "dyn ");
  uint64_t bound = print_binder(rust);
  print_list(rust, print_bound_trait, " + ");
  rust->lifetimes -= bound;
  if (!ndem_rust_take(rust, 'L')) rust->has_failed = true;
  uint64_t lifetime = ndem_rust_base62(rust);
  if (lifetime == 0) return;
  ndem_rust_put(rust, " + ");
  print_lifetime(rust, lifetime);
}

static void print_array(ndem_rust *rust, bool has_length) {
  ndem_rust_put(rust, "[");
  print_type(rust);
  if (has_length) {
    ndem_rust_put(rust, "; ");
    ndem_rust_print_constant(rust);
  }
  ndem_rust_put(rust, "]");
}

static void print_pointer(ndem_rust *rust, const char *kind) {
  ndem_rust_put(rust, kind);
  print_type(rust);
}

static void print_tuple(ndem_rust *rust) {
  ndem_rust_put(rust, "(");
  ndem_rust_put(rust, print_list(rust, print_type, ", ") == 1 ? ",)" : ")");
}

static void print_type(ndem_rust *rust) {
  if (!ndem_rust_enter(rust)) return;
  char tag = ndem_rust_next(rust);
  const char *basic = basic_type(tag);
  if (basic != NULL) ndem_rust_put(rust, basic);
  else switch (tag) {
    case 'R': print_reference(rust, false); break;
    case 'Q': print_reference(rust, true); break;
    case 'P': print_pointer(rust, "*const "); break;
    case 'O': print_pointer(rust, "*mut "); break;
    case 'A': print_array(rust, true); break;
    case 'S': print_array(rust, false); break;
    case 'T': print_tuple(rust); break;
    case 'F': print_function(rust); break;
    case 'D': print_trait_object(rust); break;
    case 'B': ndem_rust_print_referred(rust, print_type); break;
    case 0: rust->has_failed = true; break;
    default:
      rust->at--;
      print_path(rust, false);
  }
  ndem_rust_leave(rust);
}

bool ndem_demangle_rust_v0(const char *mangled, ndem_text *text) {
  if (strncmp(mangled, "_R", 2) != 0) return false;
  const char *start = mangled + 2;
  size_t length = strspn(start, "_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
  ndem_rust rust = {start, start, start + length, text, false, false, 0, 0, 0};
  print_path(&rust, true);
  // The crate that has this instance.
  if (!rust.has_failed && rust.at < rust.end) {
    rust.is_silent = true;
    print_path(&rust, false);
  }
  return !rust.has_failed && rust.at == rust.end && ndem_append_rust_suffix(start + length, text);
}
