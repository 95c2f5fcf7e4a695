// SPDX-License-Identifier: Apache-2.0

/// RFC 8259, section 7; control characters of terminals too.
///
/// A plan can have a megabyte: what stands as it is is copied in one piece.
func appendQuoted(_ string: String, to bytes: inout [UInt8]) {
  bytes.append(UInt8(ascii: "\""))
  var string = string
  string.withUTF8 { text in
    var copied = 0
    for index in text.indices {
      guard let (control, length) = escaped(text, at: index) else { continue }
      bytes.append(contentsOf: UnsafeBufferPointer(rebasing: text[copied..<index]))
      appendEscape(of: control, to: &bytes)
      copied = index + length
    }
    bytes.append(contentsOf: UnsafeBufferPointer(rebasing: text[copied...]))
  }
  bytes.append(UInt8(ascii: "\""))
}

/// The character that begins at `index`, and its bytes, where it cannot stand as it is.
@inline(__always)
private func escaped(
  _ text: UnsafeBufferPointer<UInt8>, at index: Int
) -> (control: UInt8, length: Int)? {
  let byte = text[index]
  switch byte {
  case 0..<0x20, 0x7f, UInt8(ascii: "\""), UInt8(ascii: "\\"): return (byte, 1)
  // U+0080 to U+009F are C2 80 to C2 9F.
  case 0xc2 where text[index + 1] < 0xa0: return (text[index + 1], 2)
  default: return nil
  }
}

private func appendEscape(of control: UInt8, to bytes: inout [UInt8]) {
  bytes.append(UInt8(ascii: "\\"))
  switch control {
  case UInt8(ascii: "\""), UInt8(ascii: "\\"): bytes.append(control)
  case UInt8(ascii: "\n"): bytes.append(UInt8(ascii: "n"))
  case UInt8(ascii: "\t"): bytes.append(UInt8(ascii: "t"))
  case UInt8(ascii: "\r"): bytes.append(UInt8(ascii: "r"))
  default:
    bytes.append(contentsOf: "u00".utf8)
    for digit in [control >> 4, control & 15] {
      bytes.append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") - 10 + digit)
    }
  }
}
