// SPDX-License-Identifier: Apache-2.0

import CDemangle

/// A C++ name as its source has it: `ns::f(int)` for `_ZN2ns1fEi`; nil where `name` is none, or is
/// longer than 16 KiB.
///
/// The names are the traced program's, and one of 200 bytes can stand for gigabytes.
public func demangledCxx(_ name: String) -> String? {
  guard name.hasPrefix("_Z") else { return nil }
  let capacity = 16 << 10
  return withUnsafeTemporaryAllocation(of: CChar.self, capacity: capacity) { buffer in
    guard let start = buffer.baseAddress, ndem_demangle(name, start, capacity) > 0 else {
      return nil
    }
    return String(cString: start)
  }
}
