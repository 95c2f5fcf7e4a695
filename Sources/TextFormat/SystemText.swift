// SPDX-License-Identifier: Apache-2.0

import Glibc

// Paths, arguments and variables are bytes to the kernel; most are UTF-8, and none need be. A Swift
// String holds only Unicode. A byte that is no UTF-8 is therefore held as a scalar at the end of the
// last private plane, U+10FF80 to U+10FFFF, that nobody uses, and becomes the byte again where the text
// goes back to the system.

private let firstHeld: UInt32 = 0x10ff00

/// The byte that a scalar of a text holds; nil: the scalar is just itself.
func heldByte(_ scalar: Unicode.Scalar) -> UInt8? {
  scalar.value >= firstHeld + 0x80 && scalar.value <= firstHeld + 0xff
    ? UInt8(scalar.value - firstHeld) : nil
}

/// A text of the system's: what is no UTF-8 in it is kept.
public func systemText(_ bytes: some Collection<UInt8>) -> String {
  if let text = String(validating: bytes, as: UTF8.self) { return text }
  var text = ""
  var rest = bytes[...]
  while !rest.isEmpty {
    var parser = Unicode.UTF8.ForwardParser()
    var next = rest.makeIterator()
    if case .valid(let encoded) = parser.parseScalar(from: &next) {
      text.unicodeScalars.append(Unicode.UTF8.decode(encoded))
      rest = rest.dropFirst(encoded.count)
    } else {
      let byte = rest[rest.startIndex]
      if let scalar = Unicode.Scalar(firstHeld + UInt32(byte)) {
        text.unicodeScalars.append(scalar)
      }
      rest = rest.dropFirst()
    }
  }
  return text
}

/// A C string of the system's.
public func systemText(_ start: UnsafePointer<CChar>) -> String {
  let count = strlen(start)
  return start.withMemoryRebound(to: UInt8.self, capacity: count) {
    systemText(UnsafeBufferPointer(start: $0, count: count))
  }
}

extension String {
  /// The bytes that the system is to get.
  public var systemBytes: [UInt8] {
    // All held bytes begin so.
    guard utf8.contains(0xf4) else { return Array(utf8) }
    return unicodeScalars.reduce(into: []) { bytes, scalar in
      if let byte = heldByte(scalar) {
        bytes.append(byte)
      } else {
        bytes += Array(UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
      }
    }
  }

  /// Calls `body` with a C string for a system call.
  public func withSystemText<Result>(_ body: (UnsafePointer<CChar>) throws -> Result) rethrows
    -> Result
  {
    if !utf8.contains(0xf4) { return try withCString(body) }
    return try (systemBytes + [0]).withUnsafeBufferPointer { bytes in
      try bytes.withMemoryRebound(to: CChar.self) { text in
        guard let start = text.baseAddress else { return try "".withCString(body) }
        return try body(start)
      }
    }
  }

  /// A copy for a C array of strings; to be freed.
  public var systemCopy: UnsafeMutablePointer<CChar>? { withSystemText { strdup($0) } }
}

/// The words of the command line.
public func systemArguments() -> [String] {
  (0..<Int(CommandLine.argc)).compactMap { CommandLine.unsafeArgv[$0].map { systemText($0) } }
}
