// SPDX-License-Identifier: Apache-2.0
//
// Turns linker symbols into the names that people wrote. Both demanglers trust their input more
// than a reader of recordings may: a short mangled name with back references can print as
// gigabytes. So the C++ demangler is stopped as soon as its output is full, and the Swift one is
// called only for names whose back references cannot multiply far.

#ifndef CDEMANGLE_H
#define CDEMANGLE_H

#include <stddef.h>

/// Demangles a C++ (`_Z…`) or Swift (`$s…`, `$S…`, `_T0…`) name into `output`, NUL-terminated.
///
/// Returns the length, or 0: not mangled, not valid, or longer than `capacity` - 1 bytes. Any
/// thread may call it.
size_t ndem_demangle(const char *mangled, char *output, size_t capacity);

#endif
