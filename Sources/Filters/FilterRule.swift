// SPDX-License-Identifier: Apache-2.0

import Glibc

/// One rule of ftrace's filter grammar: `name`, `glob*`, `!glob` (removes), `:mod:NAME`,
/// `:mod:!NAME`, `glob:mod:NAME`.
///
/// NAME is a glob too. It is compared with a module's path, its file name, and its file name up to
/// `.so`: `libz.so.1.2.13` is `libz.so.1.2.13`, `libz` and `/usr/lib/libz.so.1.2.13`. One that begins
/// with `./` or `../` is a path from the current folder.
public struct FilterRule: Equatable, Sendable {
  /// The rule as the user wrote it.
  public let text: String
  /// `!`: takes what it matches out of what the rules before it chose.
  public let isRemoval: Bool
  /// Nil: every function.
  public let function: Glob?
  /// Nil: every module.
  public let module: Glob?
  /// `:mod:!NAME`: every module but those.
  public let excludesModule: Bool

  /// Parses a rule. Throws where it is none.
  public init(_ text: String) throws(FilterError) {
    self.text = text
    isRemoval = text.hasPrefix("!")
    let body = isRemoval ? text.dropFirst() : text[...]
    guard !body.isEmpty else { throw .empty(rule: text) }
    guard let parts = Self.split(body) else {
      try Self.checkNoCommand(body, text)
      function = try Self.glob(body, text)
      module = nil
      excludesModule = false
      return
    }
    try Self.checkNoCommand(parts.function, text)
    function = parts.function.isEmpty ? nil : try Self.glob(parts.function, text)
    excludesModule = parts.module.hasPrefix("!")
    let name = excludesModule ? parts.module.dropFirst() : parts.module
    guard !name.isEmpty else { throw .noModule(rule: text) }
    try Self.checkNoCommand(name, text)
    module = try Self.glob(Self.absolute(name), text)
  }

  /// `./b.so` is a file of the current folder, as it is for dlopen.
  private static func absolute(_ module: Substring) -> Substring {
    guard module.hasPrefix("./") || module.hasPrefix("../"), let folder = getcwd(nil, 0) else {
      return module
    }
    defer { free(folder) }
    return ModuleSpellings.normalised(String(cString: folder) + "/" + module)[...]
  }

  /// The rules of one argument: ftrace takes several, with white space between them.
  public static func parse(_ text: String) throws(FilterError) -> [FilterRule] {
    var rules: [FilterRule] = []
    for word in text.split(whereSeparator: \.isWhitespace) {
      rules.append(try FilterRule(String(word)))
    }
    if rules.isEmpty { throw .empty(rule: text) }
    return rules
  }

  private static func glob(_ text: Substring, _ rule: String) throws(FilterError) -> Glob {
    var isEscaped = false
    for byte in text.utf8 { isEscaped = byte == UInt8(ascii: "\\") && !isEscaped }
    if isEscaped { throw .endsInBackslash(rule: rule) }
    return Glob(String(text))
  }

  /// Before and after the first `:mod:` that is not part of a C++ name such as `a::mod::b`.
  private static func split(_ text: Substring) -> (function: Substring, module: Substring)? {
    let bytes = Array(text.utf8)
    let mark = Array(":mod:".utf8)
    let colon = UInt8(ascii: ":")
    guard bytes.count >= mark.count else { return nil }
    for start in 0...(bytes.count - mark.count)
    where bytes[start..<(start + mark.count)].elementsEqual(mark) {
      let end = start + mark.count
      if start > 0, bytes[start - 1] == colon { continue }
      if end < bytes.count, bytes[end] == colon { continue }
      let utf8 = text.utf8
      return (
        text[..<utf8.index(utf8.startIndex, offsetBy: start)],
        text[utf8.index(utf8.startIndex, offsetBy: end)...]
      )
    }
    return nil
  }

  /// A single colon begins a command of ftrace's (`f:traceoff:3`), if it is no part of a name.
  private static func checkNoCommand(_ text: Substring, _ rule: String) throws(FilterError) {
    let bytes = Array(text.utf8)
    let colon = UInt8(ascii: ":")
    var depth = 0
    for index in bytes.indices {
      if bytes[index] == UInt8(ascii: "(") { depth += 1 }
      if bytes[index] == UInt8(ascii: ")") { depth -= 1 }
      guard bytes[index] == colon else { continue }
      let isDouble =
        (index > 0 && bytes[index - 1] == colon)
        || (index + 1 < bytes.count && bytes[index + 1] == colon)
      // `f[abi:cxx11]`, and Swift's `f(x:)`.
      if isDouble || depth > 0 || bytes[..<index].ends(with: "[abi") { continue }
      let command = String(decoding: bytes[(index + 1)...], as: UTF8.self)
      throw .command(rule: rule, command: command)
    }
  }
}

extension FilterRule {
  /// Whether the rule speaks of this function of this module.
  public func matches(function name: FunctionSpellings, module: ModuleSpellings) -> Bool {
    if let pattern = self.module, module.matches(pattern) == excludesModule { return false }
    guard let function else { return true }
    return name.matches(function)
  }
}

/// Why a rule cannot be understood: one line each.
public enum FilterError: Error, Equatable, Sendable {
  case empty(rule: String)
  case noModule(rule: String)
  case endsInBackslash(rule: String)
  /// ftrace's `pattern:command`, which a recording does not have.
  case command(rule: String, command: String)
}

extension FilterError: CustomStringConvertible {
  /// One line for people: what is wrong, where, and what helps.
  public var description: String {
    switch self {
    case .empty(let rule):
      "filter '\(rule)': expected a function's name or a pattern such as 'parse_*', found none"
    case .noModule(let rule):
      "filter '\(rule)': expected a module's name after ':mod:', found none: ':mod:*' is all of them"
    case .endsInBackslash(let rule):
      "filter '\(rule)': ends in '\\': expected a character after it"
    case .command(let rule, let command):
      "filter '\(rule)': expected 'PATTERN' or 'PATTERN:mod:MODULE', found the command "
        + "':\(command)': a recording takes no commands"
    }
  }
}

extension ArraySlice<UInt8> {
  fileprivate func ends(with text: String) -> Bool {
    suffix(text.utf8.count).elementsEqual(text.utf8)
  }
}
