// SPDX-License-Identifier: Apache-2.0

#include "CDemangle.h"
#include "rust.h"

#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

// libstdc++.a contains its demangler with a callback for the output. The demangler allocates no
// memory (cp-demangle.c, "IN_GLIBCPP_V3"), so leaving it by longjmp leaks nothing.
extern int __gcclibcxx_demangle_callback(
    const char *mangled, void (*callback)(const char *, size_t, void *), void *opaque);

// The Swift runtime's demangler (stdlib/public/runtime/Demangle.cpp): malloc allocates the result.
extern char *swift_demangle(
    const char *mangled, size_t length, char *output, size_t *output_size, uint32_t flags);

struct output {
  char *bytes;
  size_t capacity, length;
  jmp_buf full;
};

static void append(const char *text, size_t length, void *opaque) {
  struct output *output = opaque;
  if (length >= output->capacity - output->length) longjmp(output->full, 1);
  memcpy(output->bytes + output->length, text, length);
  output->length += length;
}

static size_t demangle_cxx(const char *mangled, char *bytes, size_t capacity) {
  struct output output = {bytes, capacity, 0, {{{0}}}};
  if (setjmp(output.full) != 0) return 0;
  if (__gcclibcxx_demangle_callback(mangled, append, &output) != 0) return 0;
  bytes[output.length] = 0;
  return output.length;
}

// How often back references (`A…`) may double the output: each can at most double it, or repeat its
// operand as often as the number behind it says.
static unsigned doublings(const char *mangled) {
  unsigned count = 0;
  for (const char *at = mangled; *at != 0; at++) {
    if (*at != 'A') continue;
    count += 1;
    for (; at[1] >= '0' && at[1] <= '9'; at++) count += 4;
  }
  return count;
}

static size_t demangle_swift(const char *mangled, char *bytes, size_t capacity) {
  size_t length = strlen(mangled);
  if (length > 1024 || doublings(mangled) > 16) return 0;
  char *text = swift_demangle(mangled, length, NULL, NULL, 0);
  if (text == NULL) return 0;
  size_t size = strlen(text);
  if (size >= capacity) size = 0;
  if (size != 0) memcpy(bytes, text, size + 1);
  free(text);
  return size;
}

static size_t demangle_rust(bool (*demangle)(const char *, ndem_text *), const char *mangled,
                            char *bytes, size_t capacity) {
  ndem_text text = {bytes, capacity, 0, false};
  if (!demangle(mangled, &text) || text.is_full) return 0;
  bytes[text.length] = 0;
  return text.length;
}

ndem_mangling ndem_mangling_of(const char *name) {
  if (strncmp(name, "_R", 2) == 0) return NDEM_RUST_V0;
  if (strncmp(name, "_Z", 2) == 0)
    return ndem_is_rust_legacy(name) ? NDEM_RUST_LEGACY : NDEM_CXX;
  bool is_swift = strncmp(name, "$s", 2) == 0 || strncmp(name, "$S", 2) == 0
                  || strncmp(name, "_T0", 3) == 0;
  return is_swift ? NDEM_SWIFT : NDEM_PLAIN;
}

size_t ndem_demangle(const char *mangled, char *output, size_t capacity) {
  if (capacity == 0) return 0;
  switch (ndem_mangling_of(mangled)) {
    case NDEM_PLAIN: return 0;
    case NDEM_CXX: return demangle_cxx(mangled, output, capacity);
    case NDEM_SWIFT: return demangle_swift(mangled, output, capacity);
    case NDEM_RUST_V0: return demangle_rust(ndem_demangle_rust_v0, mangled, output, capacity);
    case NDEM_RUST_LEGACY:
      return demangle_rust(ndem_demangle_rust_legacy, mangled, output, capacity);
  }
  return 0;
}
