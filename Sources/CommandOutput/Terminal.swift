// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Columns of the terminal that stdout is; nil where it is none, or does not say.
public var outputWidth: Int? {
  var size = winsize()
  guard isatty(1) == 1, ioctl(1, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return nil }
  return Int(size.ws_col)
}
