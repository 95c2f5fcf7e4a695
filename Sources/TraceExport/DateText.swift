// SPDX-License-Identifier: Apache-2.0

import Glibc

/// `Mon Nov 23 09:43:16 2026`, in the local time zone, as ctime(3) has it.
func dateText(_ nanoseconds: UInt64) -> String {
  var seconds = time_t(nanoseconds / 1_000_000_000)
  var parts = tm()
  guard localtime_r(&seconds, &parts) != nil else { return "unknown" }
  return withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64) { text in
    guard let start = text.baseAddress,
      strftime(start, text.count, "%a %b %e %H:%M:%S %Y", &parts) > 0
    else { return "unknown" }
    return String(cString: start)
  }
}
