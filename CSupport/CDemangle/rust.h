// SPDX-License-Identifier: Apache-2.0
//
// Rust's two manglings. Names are printed as rustc-demangle's `{:#}` prints them, and as perf and gdb
// show them: without the hashes that tell crates and instances apart.
//
// Both functions end with text->is_full where the name does not fit, and return false where it is
// none. What the text holds then is worth nothing.

#ifndef RUST_H
#define RUST_H

#include "text_output.h"

/// Whether a name is of the legacy mangling, `_ZN…17h0123456789abcdefE`. The same name could be a C++
/// function called h0123456789abcdef; what tells them apart is that the digits of a hash differ.
bool ndem_is_rust_legacy(const char *mangled);

/// A name for which `ndem_is_rust_legacy` is true: `core::fmt::Formatter::pad`.
bool ndem_demangle_rust_legacy(const char *mangled, ndem_text *text);

/// A name of the v0 mangling, `_R…` (RFC 2603): `<std::path::PathBuf>::new`.
bool ndem_demangle_rust_v0(const char *mangled, ndem_text *text);

/// What may stand behind a mangled name: nothing, or LLVM's mark of a copy (`.llvm.123`, `.cold`), which
/// is appended unless it is `.llvm.` and a number. False for anything else.
bool ndem_append_rust_suffix(const char *suffix, ndem_text *text);

#endif
