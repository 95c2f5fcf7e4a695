// SPDX-License-Identifier: Apache-2.0

import CTracing
import Glibc

/// A C++ name as its source has it: `ns::f(int)` for `_ZN2ns1fEi`; nil where `name` is none.
public func demangledCxx(_ name: String) -> String? {
  guard name.hasPrefix("_Z"), let text = ntr_demangle(name) else { return nil }
  defer { free(text) }
  return String(cString: text)
}
