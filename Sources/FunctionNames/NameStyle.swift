// SPDX-License-Identifier: Apache-2.0

import CDemangle

/// How functions are named.
public enum NameStyle: String, CaseIterable, Sendable {
  /// As people say it: `Pool::run`, without what it takes and returns, and without template arguments.
  case short
  /// As the demangler prints it: `Pool<int>::run(std::string const&)`.
  case full
  /// As in the ELF file: `_ZN4PoolIiE3runERKSs`.
  case linked

  /// The name of a function by its linked name.
  public func name(_ linked: String) -> String {
    switch self {
    case .linked: return linked
    case .full: return demangled(linked)
    case .short:
      guard let full = demangling(linked) else { return linked }
      return shortened(full, Mangling(linked))
    }
  }
}

/// Whose names a linked name is.
public enum Mangling: Sendable {
  /// Not mangled.
  case none
  case cxx, swift, rust

  /// What a linked name looks like.
  public init(_ linked: String) {
    switch ndem_mangling_of(linked) {
    case NDEM_CXX: self = .cxx
    case NDEM_SWIFT: self = .swift
    case NDEM_RUST_V0, NDEM_RUST_LEGACY: self = .rust
    default: self = .none
    }
  }
}

/// A linked name as its source has it: `ns::f(int)` for `_ZN2ns1fEi`, `mycrate::f` for
/// `_RNvC7mycrate1f`; nil where it is not mangled, or is longer than 16 KiB.
///
/// The names are the traced program's, and one of 200 bytes can stand for gigabytes.
public func demangling(_ linked: String) -> String? {
  if ndem_mangling_of(linked) == NDEM_PLAIN { return nil }
  let capacity = 16 << 10
  return withUnsafeTemporaryAllocation(of: CChar.self, capacity: capacity) { buffer in
    guard let start = buffer.baseAddress, ndem_demangle(linked, start, capacity) > 0 else {
      return nil
    }
    return String(cString: start)
  }
}

/// A name as its source has it; the same where it is not mangled, or would be too long.
public func demangled(_ linked: String) -> String { demangling(linked) ?? linked }
