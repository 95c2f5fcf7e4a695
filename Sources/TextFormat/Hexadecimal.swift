// SPDX-License-Identifier: Apache-2.0

/// `7f001234`, with zeros in front up to so many digits.
public func hexDigits(_ number: some BinaryInteger, width: Int = 1) -> String {
  String(number, radix: 16).zeroPadded(to: width)
}

/// `e8fbfcffff`, as a build-id is written; with a blank between, as a listing shows bytes.
public func hexDigits(_ bytes: some Sequence<UInt8>, separator: String = "") -> String {
  bytes.map { hexDigits($0, width: 2) }.joined(separator: separator)
}

/// `0x7f001234`.
public func hexAddress(_ number: some BinaryInteger) -> String { "0x" + hexDigits(number) }
