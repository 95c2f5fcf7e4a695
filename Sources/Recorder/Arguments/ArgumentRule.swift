// SPDX-License-Identifier: Apache-2.0

import CRecordingABI
public import Filters
import RecordingSchema

/// A rule of `--args`: whose arguments and results are recorded.
///
/// `handle_*` takes their types from DWARF. `compute(int id, char *name) -> int` has them spelled out.
public struct ArgumentRule: Sendable {
  /// Which functions.
  public let rule: FilterRule
  /// As it was given.
  public let text: String
  /// Nil: DWARF says it.
  let signature: PassedSignature?

  /// The rules of one argument: patterns with white space between them, or one spelled-out function.
  public static func parse(_ text: String) throws -> [ArgumentRule] {
    guard text.contains("(") else {
      return try FilterRule.parse(text).map {
        ArgumentRule(rule: $0, text: $0.text, signature: nil)
      }
    }
    var parser = SignatureParser(text)
    let signature = try parser.parse()
    let rule = try FilterRule(parser.name)
    if rule.isRemoval {
      throw ArgumentRuleError(
        rule: text, column: 1, expected: "a function's name: a rule with '!' has no parameters",
        found: "'!'")
    }
    return [ArgumentRule(rule: rule, text: text, signature: signature)]
  }
}

/// Why a spelled-out function cannot be understood: one line.
public struct ArgumentRuleError: Error, Equatable, CustomStringConvertible {
  let rule: String
  /// From 1.
  let column: Int
  let expected: String
  let found: String

  /// For people.
  public var description: String {
    "--args '\(rule)': column \(column): expected \(expected), found \(found)"
  }
}

/// Reads `name(TYPE NAME, ...) -> TYPE`.
struct SignatureParser {
  private struct Token {
    var text: String
    var column: Int
  }

  /// What stands before the parenthesis.
  let name: String
  private let text: String
  private var tokens: [Token] = []
  private var next = 0

  private static let types =
    "a type such as int, uint64_t, size_t, bool, double, char * or void *"

  init(_ text: String) {
    self.text = text
    name = Self.trimmed(text.prefix { $0 != "(" })
    tokens = Self.tokens(of: text)
  }

  private static func trimmed(_ text: Substring) -> String {
    var text = text
    while text.first?.isWhitespace == true { text.removeFirst() }
    while text.last?.isWhitespace == true { text.removeLast() }
    return String(text)
  }

  /// From the first parenthesis on.
  private static func tokens(of text: String) -> [Token] {
    var tokens: [Token] = []
    let characters = Array(text)
    var at = characters.firstIndex(of: "(") ?? characters.count
    while at < characters.count {
      let start = at
      if characters[at].isWhitespace {
        at += 1
        continue
      }
      while at < characters.count, isOfWord(characters[at]) { at += 1 }
      if at == start {
        let isArrow = characters[at...].starts(with: ["-", ">"])
        at += isArrow ? 2 : 1
      }
      tokens.append(Token(text: String(characters[start..<at]), column: start + 1))
    }
    return tokens
  }

  private static func isOfWord(_ character: Character) -> Bool {
    character.isLetter || character.isNumber || character == "_" || character == ":"
  }

  private var current: String? { next < tokens.count ? tokens[next].text : nil }

  private func error(_ expected: String, at index: Int) -> ArgumentRuleError {
    let token = index < tokens.count ? tokens[index] : nil
    return ArgumentRuleError(
      rule: text, column: token?.column ?? text.count + 1, expected: expected,
      found: token.map { "'\($0.text)'" } ?? "the end")
  }

  mutating func parse() throws -> PassedSignature {
    if name.isEmpty { throw error("a function's name before '('", at: 0) }
    var signature = PassedSignature(parameters: [], result: nil)
    next = 1
    let isEmpty =
      current == ")"
      || (current == "void" && next + 1 < tokens.count && tokens[next + 1].text == ")")
    if isEmpty, current == "void" { next += 1 }
    while !isEmpty {
      let start = next
      guard let type = try type() else { throw error(Self.types, at: start) }
      var name = ""
      if let word = current, word.allSatisfy(Self.isOfWord) {
        name = word
        next += 1
      }
      signature.parameters.append((name, type))
      if signature.parameters.count > SignatureFile.mostParameters {
        throw error("at most \(SignatureFile.mostParameters) parameters", at: start)
      }
      if current != "," { break }
      next += 1
    }
    guard current == ")" else { throw error("',' or ')'", at: next) }
    next += 1
    if current == "->" {
      next += 1
      signature.result = try type()
    }
    guard current == nil else { throw error("the end, or '->' and a type", at: next) }
    return signature
  }

  /// Nil: void.
  private mutating func type() throws -> PassedType? {
    let start = next
    var words: [String] = []
    var column = next
    while let word = current, word.allSatisfy(Self.isOfWord) {
      let isQualifier = ["const", "volatile", "struct", "enum", "union"].contains(word)
      // A word behind a whole type is the parameter's name.
      if !isQualifier, !words.isEmpty, !Self.continues(word) { break }
      if !isQualifier {
        if words.isEmpty { column = next }
        words.append(word)
      }
      next += 1
    }
    guard !words.isEmpty else { throw error(Self.types, at: start) }
    var stars = 0
    var isReference = false
    while let mark = current, mark == "*" || mark == "&" || mark == "const" {
      if mark == "*" { stars += 1 }
      if mark == "&" { isReference = true }
      next += 1
    }
    if let form = Self.strings[words.joined(separator: " ")], stars == 0 {
      return PassedType(stringForm: UInt8(form), byReference: isReference)
    }
    if stars == 1, !isReference, words == ["char"] { return PassedType(.text) }
    if stars > 0 || isReference { return PassedType(.pointer) }
    if words == ["void"] { return nil }
    if words == ["long", "double"] { return .longDouble }
    guard let type = Self.scalar(words) else { throw error(Self.types, at: column) }
    return PassedType(type)
  }

  private static let strings: [String: Int] = [
    "std::string": NREC_FORM_LIBSTDCXX, "string": NREC_FORM_LIBSTDCXX,
    "std::__1::string": NREC_FORM_LIBCXX,
  ]

  private static func continues(_ word: String) -> Bool {
    ["unsigned", "signed", "short", "long", "int", "char", "double"].contains(word)
  }

  private static func scalar(_ words: [String]) -> ValueType? {
    if words.count == 1, let named = named(words[0]) { return named }
    guard words.allSatisfy(continues) else { return nil }
    let isUnsigned = words.contains("unsigned")
    let rest = words.filter { $0 != "unsigned" && $0 != "signed" }.sorted()
    let bytes: Int
    switch rest {
    case ["char"]: bytes = 1
    case ["short"], ["int", "short"]: bytes = 2
    case [], ["int"]: bytes = 4
    case ["long"], ["int", "long"], ["long", "long"], ["int", "long", "long"]: bytes = 8
    default: return nil
    }
    return .integer(bytes: bytes, isSigned: !isUnsigned)
  }

  private static func named(_ word: String) -> ValueType? {
    switch word {
    case "char": return .character
    case "bool", "_Bool": return .boolean
    case "float": return .float(bytes: 4)
    case "double": return .float(bytes: 8)
    case "size_t", "uintptr_t": return .integer(bytes: 8, isSigned: false)
    case "ssize_t", "intptr_t", "ptrdiff_t", "off_t", "time_t":
      return .integer(bytes: 8, isSigned: true)
    case "pid_t": return .integer(bytes: 4, isSigned: true)
    default: break
    }
    let body = word.hasSuffix("_t") ? word.dropLast(2) : word[...]
    for (prefix, isSigned) in [("uint", false), ("int", true)] where body.hasPrefix(prefix) {
      if let bits = Int(body.dropFirst(prefix.count)), [8, 16, 32, 64].contains(bits) {
        return .integer(bytes: bits / 8, isSigned: isSigned)
      }
    }
    return nil
  }
}
