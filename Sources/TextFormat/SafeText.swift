// SPDX-License-Identifier: Apache-2.0

/// `text` with control characters shown as `\x1b`: a file's names must not drive the terminal.
public func neutralised(_ text: String) -> String {
  let isClean = text.unicodeScalars.allSatisfy { !isControl($0) && heldByte($0) == nil }
  if isClean { return text }
  var safe = ""
  for scalar in text.unicodeScalars {
    if let byte = heldByte(scalar) {
      safe += "\\x" + hexDigits(byte, width: 2)
    } else if isControl(scalar) {
      safe +=
        scalar.value < 256
        ? "\\x" + hexDigits(scalar.value, width: 2) : "\\u{\(hexDigits(scalar.value))}"
    } else {
      safe.unicodeScalars.append(scalar)
    }
  }
  return safe
}

/// C0 and C1 controls, and the marks that reorder what follows them.
private func isControl(_ scalar: Unicode.Scalar) -> Bool {
  switch scalar.value {
  case 0..<0x20, 0x7f..<0xa0, 0x200e, 0x200f, 0x2028...0x202e, 0x2066...0x2069: true
  default: false
  }
}
