// SPDX-License-Identifier: Apache-2.0

/// A demangled name without what the function takes and returns, and without template arguments.
///
/// - C++: `long ns::f<long>(int) const` is `ns::f`, `main::{lambda(int)#1}::operator()(int) const` is
///   `main::{lambda#1}`, `f[abi:cxx11]()` is `f`, `f(int) [clone .part.0]` is `f.part.0`.
/// - Rust: `<alloc::vec::Vec<T> as Drop>::drop` is `<alloc::vec::Vec as Drop>::drop`, `a::f::<u8>` is
///   `a::f`.
/// - Swift: `main.f(x: Swift.Int) -> ()` is `main.f(x:)`.
///
/// The whole name where nothing of it would be left.
public func shortened(_ full: String, _ mangling: Mangling) -> String {
  let bytes = Array(full.utf8)
  let short: [UInt8]
  switch mangling {
  case .none: return full
  case .cxx: short = shortCxxName(bytes)
  case .rust: short = shortRustName(bytes[...])
  case .swift: short = shortSwiftName(bytes)
  }
  return short.isEmpty ? full : String(decoding: short, as: UTF8.self)
}

/// The bytes of a name, and how far it has been read.
private struct NameReader {
  let bytes: [UInt8]
  var at = 0

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  var isAtEnd: Bool { at >= bytes.count }
  var rest: ArraySlice<UInt8> { bytes[at...] }

  func starts(with text: StaticString) -> Bool {
    text.withUTF8Buffer { rest.starts(with: $0) }
  }

  mutating func skip(_ text: StaticString) -> Bool {
    guard starts(with: text) else { return false }
    at += text.utf8CodeUnitCount
    return true
  }

  /// Behind the bracket that closes the one here; brackets of other kinds inside are of no matter
  /// but round ones, in which a `>` closes nothing.
  mutating func skipGroup() {
    let open = bytes[at]
    let close: UInt8 = open == UInt8(ascii: "(") ? UInt8(ascii: ")") : UInt8(ascii: ">")
    var depth = 0
    while at < bytes.count {
      let byte = bytes[at]
      if byte == UInt8(ascii: "("), open != byte {
        skipGroup()
        continue
      }
      if byte == open {
        depth += 1
      } else if byte == close, at == 0 || close != UInt8(ascii: ">") || !isArrow {
        depth -= 1
      }
      at += 1
      if depth == 0 { return }
    }
  }

  private var isArrow: Bool { bytes[at - 1] == UInt8(ascii: "-") }
}

// MARK: - C++

/// The longest first.
private let operators: [StaticString] = [
  "<=>", "->*", "<<=", ">>=", "->", "++", "--", "<<", ">>", "<=", ">=", "==", "!=", "&&", "||",
  "+=",
  "-=", "*=", "/=", "%=", "^=", "&=", "|=", "()", "[]", "+", "-", "*", "/", "%", "^", "&", "|", "~",
  "!",
  "=", "<", ">", ",",
]

/// What begins a name and is no part of its path.
private let prefixes: [StaticString] = [
  "virtual thunk to ", "non-virtual thunk to ", "covariant return thunk to ",
  "TLS init function for ",
  "TLS wrapper function for ", "guard variable for ", "initializer for module ",
]

private struct CxxNameShortener {
  private var reader: NameReader
  private var short: [UInt8] = []
  /// Where the path begins: behind what an instance of a template returns.
  private var start = 0
  /// The type that a conversion operator names has blanks in it.
  private var isConversion = false

  init(_ bytes: [UInt8]) { reader = NameReader(bytes) }

  mutating func run() -> [UInt8] {
    for prefix in prefixes where reader.skip(prefix) {
      let kept = prefix.withUTF8Buffer { Array($0) }
      var path = CxxNameShortener(Array(reader.rest))
      return kept + path.run()
    }
    let clones = cutClones()
    while !reader.isAtEnd { step() }
    return Array(short[start...]) + clones
  }

  /// ` [clone .part.0]` at the end is `.part.0`, as in the names of C functions.
  private mutating func cutClones() -> [UInt8] {
    var bytes = reader.bytes
    var clones: [UInt8] = []
    let mark = Array(" [clone ".utf8)
    while bytes.last == UInt8(ascii: "]"), let bracket = bytes.lastIndex(of: UInt8(ascii: "[")),
      bracket > 0, bytes[(bracket - 1)...].starts(with: mark)
    {
      clones = bytes[(bracket - 1 + mark.count)..<(bytes.count - 1)] + clones
      bytes.removeSubrange((bracket - 1)...)
    }
    reader = NameReader(bytes)
    return clones
  }

  private mutating func step() {
    switch reader.bytes[reader.at] {
    case UInt8(ascii: "o") where isOperator: copyOperator()
    case UInt8(ascii: "<"):
      reader.skipGroup()
      // `operator< <int>`
      if isConversion || short.last != UInt8(ascii: " ") { return }
      short.removeLast()
    case UInt8(ascii: "("): readParentheses()
    case UInt8(ascii: "["): readTag()
    case UInt8(ascii: "{"): copyBraces()
    case UInt8(ascii: " "):
      copy()
      if !isConversion && !isBeforeTemplate { start = short.count }
    default: copy()
    }
  }

  private var isBeforeTemplate: Bool { reader.starts(with: "<") }

  private mutating func copy() {
    short.append(reader.bytes[reader.at])
    reader.at += 1
  }

  private mutating func copy(_ count: Int) { for _ in 0..<count where !reader.isAtEnd { copy() } }

  private static func isOfWord(_ byte: UInt8) -> Bool {
    let letter = byte | 0x20
    return (0x61...0x7a).contains(letter) || (0x30...0x39).contains(byte)
      || byte == UInt8(ascii: "_")
      || byte >= 0x80
  }

  private var isOperator: Bool {
    guard reader.starts(with: "operator") else { return false }
    if let before = short.last, Self.isOfWord(before) { return false }
    let next = reader.at + 8
    return next >= reader.bytes.count || !Self.isOfWord(reader.bytes[next])
  }

  private mutating func copyOperator() {
    copy(8)
    for symbol in operators where reader.starts(with: symbol) {
      return copy(symbol.utf8CodeUnitCount)
    }
    for word in ["\"\" ", " new[]", " delete[]", " new", " delete", " co_await"] as [StaticString]
    where reader.starts(with: word) {
      return copy(word.utf8CodeUnitCount)
    }
    isConversion = reader.starts(with: " ")
  }

  /// What a function takes, its own or an enclosing one's, and what follows: ` const`, ` &&`.
  private mutating func readParentheses() {
    if reader.starts(with: "(anonymous namespace)") { return copy(21) }
    reader.skipGroup()
    let behind = reader.at
    let words: [StaticString] = [" const", " volatile", " &&", " &", " noexcept"]
    while words.contains(where: { reader.skip($0) }) {}
    if !reader.isAtEnd && !reader.starts(with: "::") { reader.at = behind }
    isConversion = false
  }

  /// `[abi:cxx11]` is left out.
  private mutating func readTag() {
    guard reader.starts(with: "[abi:") else { return copy() }
    while !reader.isAtEnd && reader.bytes[reader.at] != UInt8(ascii: "]") { reader.at += 1 }
    reader.at += 1
  }

  /// `{lambda(int)#1}` is `{lambda#1}`; its call operator goes without saying.
  private mutating func copyBraces() {
    let isLambda = reader.starts(with: "{lambda(")
    var depth = 0
    repeat {
      let byte = reader.bytes[reader.at]
      if byte == UInt8(ascii: "(") {
        reader.skipGroup()
        continue
      }
      if byte == UInt8(ascii: "{") { depth += 1 } else if byte == UInt8(ascii: "}") { depth -= 1 }
      copy()
    } while depth > 0 && !reader.isAtEnd
    if isLambda { _ = reader.skip("::operator()") }
  }
}

private func shortCxxName(_ bytes: [UInt8]) -> [UInt8] {
  var shortener = CxxNameShortener(bytes)
  return shortener.run()
}

// MARK: - Rust and Swift

/// Generic arguments are in `<>`; at the begin of a path these are a type: `<Vec<T>>::push`,
/// `<Vec<T> as Drop>::drop`.
private func shortRustName(_ name: ArraySlice<UInt8>) -> [UInt8] {
  var reader = NameReader(Array(name))
  var short: [UInt8] = []
  while !reader.isAtEnd {
    if reader.starts(with: "<") {
      let begin = reader.at
      reader.skipGroup()
      let end = max(begin + 1, reader.at - 1)
      let isArguments = short.last.map { $0 != UInt8(ascii: " ") } ?? false
      if isArguments {
        if short.suffix(2) == Array("::".utf8)[...] { short.removeLast(2) }
        continue
      }
      let type = shortRustName(reader.bytes[(begin + 1)..<end])
      let isTrait = type.indices.contains { type[$0...].starts(with: Array(" as ".utf8)) }
      short += isTrait ? Array("<".utf8) + type + Array(">".utf8) : type
    } else {
      short.append(reader.bytes[reader.at])
      reader.at += 1
    }
  }
  return short
}

/// `main.S.f<A>(x: Swift.Int, Swift.Int) -> ()` is `main.S.f(x:_:)`; other kinds of names, which are
/// sentences (`closure #1 () -> () in main.f() -> ()`), stay whole.
private func shortSwiftName(_ bytes: [UInt8]) -> [UInt8] {
  var reader = NameReader(bytes)
  var short: [UInt8] = []
  while !reader.isAtEnd {
    switch reader.bytes[reader.at] {
    case UInt8(ascii: "<"): reader.skipGroup()
    case UInt8(ascii: "("):
      let begin = reader.at
      reader.skipGroup()
      short += swiftLabels(Array(bytes[(begin + 1)..<max(begin + 1, reader.at - 1)]))
      let isWhole =
        reader.isAtEnd || reader.starts(with: " -> ") || reader.starts(with: " throws -> ")
        || reader.starts(with: " async ")
      let isSentence = reader.rest.indices.contains {
        reader.rest[$0...].starts(with: Array(" in ".utf8))
      }
      return isWhole && !isSentence ? short : bytes
    case UInt8(ascii: " "): return bytes
    default:
      short.append(reader.bytes[reader.at])
      reader.at += 1
    }
  }
  return short
}

/// `(x:_:)` of `x: Swift.Int, Swift.Int`.
private func swiftLabels(_ parameters: [UInt8]) -> [UInt8] {
  var reader = NameReader(parameters)
  var labels: [UInt8] = []
  var word: [UInt8] = []
  var label: [UInt8]?
  func isBlank(_ text: [UInt8]) -> Bool { text.allSatisfy { $0 == UInt8(ascii: " ") } }
  func close() {
    guard !isBlank(word) || label != nil else { return }
    labels += (label ?? Array("_".utf8)) + Array(":".utf8)
    word = []
    label = nil
  }
  while !reader.isAtEnd {
    let byte = parameters[reader.at]
    if byte == UInt8(ascii: "<") || byte == UInt8(ascii: "(") {
      reader.skipGroup()
      word.append(byte)
      continue
    }
    reader.at += 1
    switch byte {
    case UInt8(ascii: ","): close()
    case UInt8(ascii: ":") where label == nil:
      label = word.filter { $0 != UInt8(ascii: " ") }
      word = []
    default: word.append(byte)
    }
  }
  close()
  return Array("(".utf8) + labels + Array(")".utf8)
}
