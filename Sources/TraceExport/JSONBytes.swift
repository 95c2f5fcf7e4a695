// SPDX-License-Identifier: Apache-2.0

import TextFormat

/// A string as JSON has it, quotes included (RFC 8259, section 7).
func jsonBytes(_ text: String) -> [UInt8] {
  var bytes: [UInt8] = [UInt8(ascii: "\"")]
  for byte in text.utf8 {
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"): bytes += [UInt8(ascii: "\\"), byte]
    case 0..<0x20, 0x7f:
      bytes += Array(("\\u" + hexDigits(byte, width: 4)).utf8)
    default: bytes.append(byte)
    }
  }
  bytes.append(UInt8(ascii: "\""))
  return bytes
}

/// Where functions are defined as JSON strings, `FILE:LINE`, by index, made once each.
struct JSONSources {
  /// Empty where it is not known.
  private var sources: [[UInt8]] = []

  @inline(__always)
  mutating func source(_ index: Int32, _ functions: borrowing ExportedFunctions) -> [UInt8] {
    while sources.count <= Int(index) {
      sources.append(functions.all[sources.count].source.map { jsonBytes($0.text) } ?? [])
    }
    return sources[Int(index)]
  }
}

/// Functions' names as JSON strings, by index, made once each.
struct JSONNames {
  private var names: [[UInt8]] = []

  @inline(__always)
  mutating func name(_ index: Int32, _ functions: borrowing ExportedFunctions) -> [UInt8] {
    while names.count <= Int(index) { names.append(jsonBytes(functions.all[names.count].label)) }
    return names[Int(index)]
  }
}
