// SPDX-License-Identifier: Apache-2.0

import CDemangle

/// A C++ or Rust name as its source has it: `ns::f(int)` for `_ZN2ns1fEi`, `mycrate::f` for
/// `_RNvC7mycrate1f`; nil where `name` is none, or is longer than 16 KiB.
///
/// The names are the traced program's, and one of 200 bytes can stand for gigabytes.
public func demangledForRules(_ name: String) -> String? {
  guard [NDEM_CXX, NDEM_RUST_V0, NDEM_RUST_LEGACY].contains(ndem_mangling_of(name)) else {
    return nil
  }
  let capacity = 16 << 10
  return withUnsafeTemporaryAllocation(of: CChar.self, capacity: capacity) { buffer in
    guard let start = buffer.baseAddress, ndem_demangle(name, start, capacity) > 0 else {
      return nil
    }
    return String(cString: start)
  }
}

/// Whether a name is C++'s: its source name ends in what the function takes, and an instance of a
/// template begins with what it returns. Rust's are paths alone.
func isCxxName(_ name: String) -> Bool { ndem_mangling_of(name) == NDEM_CXX }
