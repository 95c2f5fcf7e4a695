// SPDX-License-Identifier: Apache-2.0

/// A JSON value, written without Foundation: what the recording's text files are made of.
indirect enum JSONText {
  case null
  case bool(Bool)
  case integer(Int64)
  case unsigned(UInt64)
  case string(String)
  case array([JSONText])
  /// Keys in this order.
  case object([(String, JSONText)])

  static func number(_ value: some BinaryInteger) -> JSONText {
    value < 0 ? .integer(Int64(truncatingIfNeeded: value)) : .unsigned(UInt64(value))
  }

  /// On one line.
  var line: String {
    var text = ""
    write(to: &text)
    return text
  }

  private func write(to text: inout String) {
    switch self {
    case .null: text += "null"
    case .bool(let value): text += value ? "true" : "false"
    case .integer(let value): text += String(value)
    case .unsigned(let value): text += String(value)
    case .string(let value): Self.write(value, to: &text)
    case .array(let values):
      text += "["
      for (index, value) in values.enumerated() {
        if index > 0 { text += "," }
        value.write(to: &text)
      }
      text += "]"
    case .object(let members):
      text += "{"
      for (index, member) in members.enumerated() {
        if index > 0 { text += "," }
        Self.write(member.0, to: &text)
        text += ":"
        member.1.write(to: &text)
      }
      text += "}"
    }
  }

  /// RFC 8259, section 7.
  private static func write(_ string: String, to text: inout String) {
    text += "\""
    for scalar in string.unicodeScalars {
      switch scalar {
      case "\"": text += "\\\""
      case "\\": text += "\\\\"
      case "\n": text += "\\n"
      case "\t": text += "\\t"
      case "\r": text += "\\r"
      default:
        if scalar.value < 0x20 || scalar.value == 0x7f {
          text += "\\u" + hexadecimal(UInt64(scalar.value)).suffix(4)
        } else {
          text.unicodeScalars.append(scalar)
        }
      }
    }
    text += "\""
  }
}
