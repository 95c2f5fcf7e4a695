// SPDX-License-Identifier: Apache-2.0

/// A JSON value while it is made.
final class JSONNode {
  private struct Member {
    var name: String
    var node: JSONNode
  }

  private enum Kind {
    /// A number, true, false or null, as it is written.
    case word(String)
    case string(String)
    case array([JSONNode])
    /// In the order in which they came. Of those with one name the last counts.
    case object([Member])
  }

  private var kind = Kind.word("null")

  var count: Int {
    if case .array(let elements) = kind { return elements.count }
    return 0
  }

  func becomeObject() {
    if case .object = kind { return }
    kind = .object([])
  }

  func becomeArray() {
    if case .array = kind { return }
    kind = .array([])
  }

  func become(word: String) { kind = .word(word) }

  func become(string: String) { kind = .string(string) }

  /// A new member of this name.
  func member(_ name: String) -> JSONNode {
    guard case .object(var members) = kind else { return JSONNode() }
    let node = JSONNode()
    kind = .word("null")  // so that the members are held once, and not copied
    members.append(Member(name: name, node: node))
    kind = .object(members)
    return node
  }

  /// A new last element.
  func append() -> JSONNode {
    guard case .array(var elements) = kind else { return JSONNode() }
    let node = JSONNode()
    kind = .word("null")
    elements.append(node)
    kind = .array(elements)
    return node
  }

  func write(to bytes: inout [UInt8]) {
    switch kind {
    case .word(let word): bytes.append(contentsOf: word.utf8)
    case .string(let string): appendQuoted(string, to: &bytes)
    case .array(let elements):
      bytes.append(UInt8(ascii: "["))
      for (index, element) in elements.enumerated() {
        if index > 0 { bytes.append(UInt8(ascii: ",")) }
        element.write(to: &bytes)
      }
      bytes.append(UInt8(ascii: "]"))
    case .object(let members): Self.write(members, to: &bytes)
    }
  }

  private static func write(_ members: [Member], to bytes: inout [UInt8]) {
    let sorted = members.sorted { $0.name < $1.name }
    bytes.append(UInt8(ascii: "{"))
    var isFirst = true
    for (index, member) in sorted.enumerated() {
      if index + 1 < sorted.count, sorted[index + 1].name == member.name { continue }
      if !isFirst { bytes.append(UInt8(ascii: ",")) }
      isFirst = false
      appendQuoted(member.name, to: &bytes)
      bytes.append(UInt8(ascii: ":"))
      member.node.write(to: &bytes)
    }
    bytes.append(UInt8(ascii: "}"))
  }
}
