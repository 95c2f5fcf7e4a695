// SPDX-License-Identifier: Apache-2.0

import Glibc

/// `text` with control characters shown as `\x1b`: a file's names must not drive the terminal.
func neutralised(_ text: String) -> String {
  let isClean = text.unicodeScalars.allSatisfy { !isControl($0) }
  if isClean { return text }
  var safe = ""
  for scalar in text.unicodeScalars {
    if isControl(scalar) {
      let digits = String(scalar.value, radix: 16)
      safe += scalar.value < 256 ? "\\x" + (digits.count < 2 ? "0" : "") + digits : "\\u{\(digits)}"
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

/// Writes all of `text` to a descriptor; false if it cannot be written.
@discardableResult
func write(_ text: String, to descriptor: Int32) -> Bool {
  var text = text
  return text.withUTF8 { bytes in
    guard let start = bytes.baseAddress else { return true }
    var done = 0
    while done < bytes.count {
      let wrote = write(descriptor, start + done, bytes.count - done)
      if wrote < 0 && errno == EINTR { continue }
      if wrote <= 0 { return false }
      done += wrote
    }
    return true
  }
}

/// One line on stderr: `nopscope: FILE: what, where, expected and found`.
func complain(_ message: String) {
  write("nopscope: \(neutralised(message))\n", to: 2)
}

/// `4,812`.
func grouped(_ number: Int) -> String {
  var digits = Array(String(number))
  var index = digits.count - 3
  while index > (number < 0 ? 1 : 0) {
    digits.insert(",", at: index)
    index -= 3
  }
  return String(digits)
}
