// SPDX-License-Identifier: Apache-2.0

extension String {
  /// With blanks behind, up to so many characters.
  public func leftAligned(in width: Int) -> String {
    self + String(repeating: " ", count: Swift.max(0, width - count))
  }

  /// With blanks in front, up to so many characters.
  public func rightAligned(in width: Int) -> String {
    String(repeating: " ", count: Swift.max(0, width - count)) + self
  }

  /// With zeros in front, up to so many characters.
  public func zeroPadded(to width: Int) -> String {
    String(repeating: "0", count: Swift.max(0, width - count)) + self
  }
}
