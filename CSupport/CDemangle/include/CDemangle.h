// SPDX-License-Identifier: Apache-2.0
//
// Turns linker symbols into the names that people wrote. The demanglers of libstdc++ and of Swift trust
// their input more than a reader of recordings may: a short mangled name with back references can print
// as gigabytes. So the C++ demangler is stopped as soon as its output is full, and the Swift one is
// called only for names whose back references cannot multiply far. Rust's is ours, and bounds itself.

#ifndef CDEMANGLE_H
#define CDEMANGLE_H

#include <stddef.h>

/// How a name looks as if it were mangled.
typedef enum ndem_mangling {
  NDEM_PLAIN,        ///< not at all
  NDEM_CXX,          ///< `_Z…`
  NDEM_SWIFT,        ///< `$s…`, `$S…`, `_T0…`
  NDEM_RUST_V0,      ///< `_R…`
  NDEM_RUST_LEGACY,  ///< `_ZN…17h0123456789abcdefE`
} ndem_mangling;

ndem_mangling ndem_mangling_of(const char *name);

/// Demangles a C++, Swift or Rust name into `output`, NUL-terminated.
///
/// Returns the length, or 0: not mangled, not valid, or longer than `capacity` - 1 bytes. Any
/// thread may call it.
size_t ndem_demangle(const char *mangled, char *output, size_t capacity);

#endif
