// SPDX-License-Identifier: Apache-2.0

import RecordingReader
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

/// A value as JSON has it: numbers, truths and texts; the others, and texts that were cut, as a program of
/// C has them. What 53 bits do not hold is a text: readers in JavaScript would round it.
func jsonBytes(_ value: CallValue) -> [UInt8] {
  let exact = Int64(1) << 53
  switch value {
  case .integer(let number) where number.magnitude <= exact.magnitude:
    return Array("\(number)".utf8)
  case .unsigned(let number) where number <= UInt64(exact): return Array("\(number)".utf8)
  case .real(let number) where number.isFinite: return Array("\(number)".utf8)
  case .single(let number) where number.isFinite: return Array("\(number)".utf8)
  case .boolean(let truth): return Array("\(truth)".utf8)
  case .text(let bytes, isCut: false): return jsonBytes(String(decoding: bytes, as: UTF8.self))
  default: return jsonBytes(value.text)
  }
}

/// An object; arguments without a name, and those of a name that was there before, are numbered from 1.
func jsonBytes(_ arguments: [CallArgument]) -> [UInt8] {
  var bytes = [UInt8(ascii: "{")]
  for (name, value) in keyed(arguments) {
    if bytes.count > 1 { bytes.append(UInt8(ascii: ",")) }
    bytes += jsonBytes(name) + [UInt8(ascii: ":")] + jsonBytes(value)
  }
  return bytes + [UInt8(ascii: "}")]
}

/// Arguments with keys that are all different.
func keyed(_ arguments: [CallArgument]) -> [(key: String, value: CallValue)] {
  var seen: Set<String> = []
  return arguments.enumerated().map { index, argument in
    let isOwn = !argument.name.isEmpty && !seen.contains(argument.name)
    let key = isOwn ? argument.name : "\(index + 1)"
    seen.insert(key)
    return (key, argument.value)
  }
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
