// SPDX-License-Identifier: Apache-2.0

/// What one scene of the demo measured, said and expected.
public struct SceneReport: Sendable {
  /// What a scene claims, and whether the run showed it.
  public struct Expectation: Sendable, Encodable {
    /// A few words.
    public var claim: String
    /// Whether it was so.
    public var held: Bool
  }

  /// As `--scene` takes it.
  public var name: String
  /// A few words.
  public var title: String
  /// What is said, to be fitted to the screen.
  public var text: [SceneText] = []
  /// What was claimed, in order.
  public var expectations: [Expectation] = []
  /// The scene's own measurements, for `--json`.
  public var data: [String: JSONValue] = [:]
  /// The table's cells, where the scene has a table.
  public var cells: [UnloadCell] = []
  /// What was left of the card's NVM under each engine, without the driver's own fix: erased
  /// where any of the engine's runs erased it.
  public var isCardErased: [LabEngine: Bool] = [:]

  /// An empty report.
  public init(name: String, title: String) {
    self.name = name
    self.title = title
  }

  /// Whether everything that was claimed was so.
  public var held: Bool { expectations.allSatisfy(\.held) && cells.allSatisfy(\.held) }

  /// Words, broken where a line is full.
  mutating func say(_ words: String) { text.append(.paragraph(words)) }

  /// Terms, and words on each beside them.
  mutating func list(_ items: KeyValuePairs<String, String>, width: Int) {
    text += items.map { .item($0, $1, width: width) }
  }

  /// Lines as they are: at most 58 columns each.
  mutating func show(_ lines: String...) { text += lines.map { .line($0) } }

  /// An empty line.
  mutating func skip() { text.append(.blank) }

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

  /// The document of `demo --json`: text without marks.
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

  /// A string.
  public init(stringLiteral value: String) { self = .string(value) }
  /// A number without a fraction.
  public init(integerLiteral value: Int) { self = .integer(value) }
  /// A number.
  public init(floatLiteral value: Double) { self = .number(value) }
  /// True or false.
  public init(booleanLiteral value: Bool) { self = .boolean(value) }
  /// A number without a fraction; what is too large becomes the largest.
  public init(_ value: some BinaryInteger) { self = .integer(Int(clamping: value)) }
  /// A number; null where it is not finite.
  public init(_ value: Double) { self = value.isFinite ? .number(value) : .null }

  /// The value itself, without a word about its type.
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
