// SPDX-License-Identifier: Apache-2.0

/// The type of an argument or a result, as far as it is recorded and shown.
public enum ValueType: Sendable, Hashable {
  /// Of 1, 2, 4 or 8 bytes.
  case integer(bytes: Int, isSigned: Bool)
  /// An integer whose values have names: `index` of the file's enumerations.
  case enumeration(bytes: Int, isSigned: Bool, index: Int)
  /// A byte that is shown as a character.
  case character
  case boolean
  /// Of 4 or 8 bytes.
  case float(bytes: Int)
  case pointer
  /// `char *`: what it points to, up to its NUL.
  case text
  /// A std::string, by reference or by value.
  case string
  /// A structure by value: it is not recorded.
  case structure
  /// What cannot be recorded, or is not known.
  case unknown

  /// Whether an event VALUES has it.
  public var isRecorded: Bool { self != .structure && self != .unknown }
}

/// What a function takes and returns.
public struct FunctionSignature: Sendable, Equatable {
  /// One of its parameters.
  public struct Parameter: Sendable, Equatable {
    /// Empty: it has none.
    public var name: String
    /// What of it is recorded.
    public var type: ValueType

    /// A parameter.
    public init(name: String, type: ValueType) {
      self.name = name
      self.type = type
    }
  }

  /// In their order.
  public var parameters: [Parameter]
  /// Nil: it returns nothing.
  public var result: ValueType?

  /// A function.
  public init(parameters: [Parameter], result: ValueType?) {
    self.parameters = parameters
    self.result = result
  }
}

/// The names of an enumeration's values.
public struct Enumeration: Sendable, Equatable {
  /// By value; of several the first.
  public private(set) var names: [Int64: String] = [:]

  /// Without names.
  public init() {}

  /// Adds a name, unless the value has one.
  public mutating func add(_ name: String, _ value: Int64) {
    if names[value] == nil { names[value] = name }
  }
}

/// `symbols/BUILDID.args`: what is recorded with calls of a module's functions.
///
/// The first line is `nopscope.args 1 ENUMERATIONS FUNCTIONS`. Each enumeration is a line of
/// `NAME=VALUE` between tabs. Each function is a line `SITE TAB RESULT`, then `TAB TYPE TAB NAME` for each
/// parameter.
public struct SignatureFile: Sendable, Equatable {
  /// What types refer to.
  public var enumerations: [Enumeration] = []
  /// By the call site's place in the module's table.
  public var functions: [UInt32: FunctionSignature] = [:]

  private static let mark = "nopscope.args"
  private static let version = "1"
  private static let none = "-"
  /// More parameters are not read.
  public static let mostParameters = 64

  /// Of no function.
  public init() {}
}

// MARK: - Text

extension ValueType {
  /// `i4`, `u8`, `e4:0`; signed ones have small letters.
  var text: String {
    switch self {
    case .integer(let bytes, let isSigned): (isSigned ? "i" : "u") + "\(bytes)"
    case .enumeration(let bytes, let isSigned, let index):
      (isSigned ? "e" : "E") + "\(bytes):\(index)"
    case .character: "c"
    case .boolean: "b"
    case .float(let bytes): "f\(bytes)"
    case .pointer: "p"
    case .text: "s"
    case .string: "S"
    case .structure: "{"
    case .unknown: "?"
    }
  }

  /// Reads what the file has of a type; nil where it is none.
  public init?(_ text: some StringProtocol) {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    guard let head = parts.first, let letter = head.first else { return nil }
    let bytes = Int(head.dropFirst())
    let isSized = parts.count == 1 && [1, 2, 4, 8].contains(bytes)
    switch letter {
    case "i" where isSized: self = .integer(bytes: bytes ?? 8, isSigned: true)
    case "u" where isSized: self = .integer(bytes: bytes ?? 8, isSigned: false)
    case "f" where isSized && (bytes == 4 || bytes == 8): self = .float(bytes: bytes ?? 8)
    case "e", "E":
      guard parts.count == 2, let bytes, [1, 2, 4, 8].contains(bytes), let index = Int(parts[1]),
        index >= 0
      else { return nil }
      self = .enumeration(bytes: bytes, isSigned: letter == "e", index: index)
    default:
      let simple: [String: ValueType] = [
        "c": .character, "b": .boolean, "p": .pointer, "s": .text, "S": .string, "{": .structure,
        "?": .unknown,
      ]
      guard let known = simple[String(text)] else { return nil }
      self = known
    }
  }
}

extension SignatureFile {
  /// The whole file.
  public var bytes: [UInt8] {
    var text = "\(Self.mark) \(Self.version) \(enumerations.count) \(functions.count)\n"
    for one in enumerations {
      text += one.names.sorted { $0.key < $1.key }.map { "\(Self.tidy($0.value))=\($0.key)" }
        .joined(separator: "\t")
      text += "\n"
    }
    for (site, function) in functions.sorted(by: { $0.key < $1.key }) {
      text += "\(site)\t\(function.result?.text ?? Self.none)"
      for one in function.parameters { text += "\t\(one.type.text)\t\(Self.tidy(one.name))" }
      text += "\n"
    }
    return Array(text.utf8)
  }

  private static func tidy(_ name: String) -> String {
    String(name.map { $0.isASCII && ($0.asciiValue ?? 0) < 0x20 ? "?" : $0 })
  }

  /// Reads one; nil where the first line is not one's. Wrong lines are left out, and counted.
  public init?(_ bytes: [UInt8], wrong: inout Int) {
    var lines = String(decoding: bytes, as: UTF8.self)
      .split(separator: "\n", omittingEmptySubsequences: false)[...]
    let head = lines.popFirst()?.split(separator: " ") ?? []
    guard head.count == 4, head[0] == Self.mark, head[1] == Self.version, let names = Int(head[2]),
      let count = Int(head[3]), names >= 0, count >= 0
    else { return nil }
    while enumerations.count < names, let line = lines.popFirst() {
      enumerations.append(Self.enumeration(line))
    }
    while functions.count < count, let line = lines.popFirst(), !line.isEmpty {
      if let (site, function) = function(line) {
        functions[site] = function
      } else {
        wrong += 1
      }
    }
    if enumerations.count < names || functions.count + wrong < count { wrong += 1 }
  }

  private static func enumeration(_ line: Substring) -> Enumeration {
    var found = Enumeration()
    for field in line.split(separator: "\t") {
      guard let equals = field.lastIndex(of: "="),
        let value = Int64(field[field.index(after: equals)...])
      else { continue }
      found.add(String(field[..<equals]), value)
    }
    return found
  }

  private func function(_ line: Substring) -> (UInt32, FunctionSignature)? {
    let fields = line.split(separator: "\t", omittingEmptySubsequences: false)
    guard fields.count >= 2, fields.count % 2 == 0, fields.count <= 2 + 2 * Self.mostParameters,
      let site = UInt32(fields[0])
    else { return nil }
    var function = FunctionSignature(parameters: [], result: nil)
    if fields[1] != Self.none {
      guard let type = type(fields[1]) else { return nil }
      function.result = type
    }
    for place in stride(from: 2, to: fields.count, by: 2) {
      guard let type = type(fields[place]) else { return nil }
      function.parameters.append(.init(name: String(fields[place + 1]), type: type))
    }
    return (site, function)
  }

  private func type(_ text: Substring) -> ValueType? {
    guard let type = ValueType(text) else { return nil }
    if case .enumeration(_, _, let index) = type, index >= enumerations.count { return nil }
    return type
  }
}
