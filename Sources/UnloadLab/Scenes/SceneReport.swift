// SPDX-License-Identifier: Apache-2.0

/// What one scene of the demo measured, said and expected.
///
/// Text may hold marks for the terminal, `{good}…{/}`, `{bad}…{/}`, `{dim}…{/}`, `{code}…{/}` and
/// `{head}…{/}`; whoever prints it replaces or drops them.
public struct SceneReport: Sendable {
  public struct Expectation: Sendable, Encodable {
    public var claim: String
    public var held: Bool
  }

  public var name: String
  public var title: String
  public var lines: [String] = []
  public var expectations: [Expectation] = []
  /// The scene's own measurements, for `--json`.
  public var data: [String: JSONValue] = [:]
  public var cells: [UnloadCell] = []

  public init(name: String, title: String) {
    self.name = name
    self.title = title
  }

  public var held: Bool { expectations.allSatisfy(\.held) && cells.allSatisfy(\.held) }

  mutating func say(_ line: String = "") { lines.append(line) }

  /// Several lines at once.
  mutating func say(_ text: [String]) { lines += text }

  mutating func expect(_ claim: String, _ isTrue: Bool) {
    expectations.append(Expectation(claim: claim, held: isTrue))
  }
}

extension SceneReport: Encodable {
  private struct Key: CodingKey {
    var stringValue: String
    var intValue: Int? { nil }
    init(_ name: String) { stringValue = name }
    init?(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Key.self)
    try container.encode(name, forKey: Key("name"))
    try container.encode(title, forKey: Key("title"))
    try container.encode(held, forKey: Key("held"))
    try container.encode(expectations, forKey: Key("expectations"))
    if !cells.isEmpty { try container.encode(cells, forKey: Key("cells")) }
    for (name, value) in data { try container.encode(value, forKey: Key(name)) }
  }
}

/// A measurement of any shape, for a JSON document.
public enum JSONValue: Sendable, Encodable, ExpressibleByStringLiteral,
  ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral, ExpressibleByBooleanLiteral
{
  case string(String)
  case integer(Int)
  case number(Double)
  case boolean(Bool)
  case array([JSONValue])
  case object([String: JSONValue])
  case null

  public init(stringLiteral value: String) { self = .string(value) }
  public init(integerLiteral value: Int) { self = .integer(value) }
  public init(floatLiteral value: Double) { self = .number(value) }
  public init(booleanLiteral value: Bool) { self = .boolean(value) }
  public init(_ value: some BinaryInteger) { self = .integer(Int(clamping: value)) }
  public init(_ value: Double) { self = value.isFinite ? .number(value) : .null }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    switch self {
    case .string(let value): try container.encode(value)
    case .integer(let value): try container.encode(value)
    case .number(let value): try container.encode(value)
    case .boolean(let value): try container.encode(value)
    case .array(let values): try container.encode(values)
    case .object(let values): try container.encode(values)
    case .null: try container.encodeNil()
    }
  }
}
