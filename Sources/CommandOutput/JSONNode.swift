// SPDX-License-Identifier: Apache-2.0

import TextFormat

/// A JSON value while it is made.
final class JSONNode {
  private enum Kind {
    case text(String)
    case array([JSONNode])
    case object([String: JSONNode])
  }

  private var kind = Kind.text("null")

  var count: Int {
    if case .array(let elements) = kind { return elements.count }
    return 0
  }

  func becomeObject() {
    if case .object = kind { return }
    kind = .object([:])
  }

  func becomeArray() {
    if case .array = kind { return }
    kind = .array([])
  }

  func becomeNull() { kind = .text("null") }

  /// The member of this name: the one that is there, or a new one.
  func member(_ name: String) -> JSONNode {
    guard case .object(var members) = kind else { return JSONNode() }
    if let known = members[name] { return known }
    let node = JSONNode()
    kind = .text("null")  // so that the members are held once, and not copied
    members[name] = node
    kind = .object(members)
    return node
  }

  /// A new last element.
  func append() -> JSONNode {
    guard case .array(var elements) = kind else { return JSONNode() }
    let node = JSONNode()
    kind = .text("null")
    elements.append(node)
    kind = .array(elements)
    return node
  }

  func set<Value: Encodable>(_ value: Value, at path: [any CodingKey]) throws {
    switch value {
    case let text as String: kind = .text(Self.quoted(text))
    case let flag as Bool: kind = .text(flag ? "true" : "false")
    case let number as Double: kind = .text(try Self.text(number, path))
    case let number as Float: kind = .text(try Self.text(Double(number), path))
    case let number as any BinaryInteger: kind = .text("\(number)")
    default: try value.encode(to: JSONNodeEncoder(node: self, codingPath: path))
    }
  }

  func write(to text: inout String) {
    switch kind {
    case .text(let value): text += value
    case .array(let elements):
      text += "["
      for (index, element) in elements.enumerated() {
        if index > 0 { text += "," }
        element.write(to: &text)
      }
      text += "]"
    case .object(let members):
      text += "{"
      for (index, member) in members.sorted(by: { $0.key < $1.key }).enumerated() {
        text += (index > 0 ? "," : "") + Self.quoted(member.key) + ":"
        member.value.write(to: &text)
      }
      text += "}"
    }
  }

  /// `5` for 5.0. JSON has no infinity, and no "not a number".
  private static func text(_ number: Double, _ path: [any CodingKey]) throws -> String {
    guard number.isFinite else {
      throw EncodingError.invalidValue(
        number, .init(codingPath: path, debugDescription: "\(number) is no number of JSON"))
    }
    let text = "\(number)"
    return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
  }

  /// RFC 8259, section 7; control characters of terminals too.
  private static func quoted(_ string: String) -> String {
    var text = "\""
    for scalar in string.unicodeScalars {
      switch scalar {
      case "\"": text += "\\\""
      case "\\": text += "\\\\"
      case "\n": text += "\\n"
      case "\t": text += "\\t"
      case "\r": text += "\\r"
      default:
        if scalar.value < 0x20 || (0x7f..<0xa0).contains(scalar.value) {
          text += "\\u" + hexDigits(scalar.value, width: 4)
        } else {
          text.unicodeScalars.append(scalar)
        }
      }
    }
    return text + "\""
  }
}
