// SPDX-License-Identifier: Apache-2.0

import FunctionNames

/// How a function can be spelt in rules: by its linked name, and by its source name in every way in
/// which it is shown. That of C++ is also spelt without what it takes, or without what it returns.
public struct FunctionSpellings {
  let linked: String

  /// A function by its linked name.
  public init(_ linked: String) { self.linked = linked }

  func matches(_ pattern: Glob) -> Bool {
    if pattern.matches(linked) { return true }
    let mangling = Mangling(linked)
    guard mangling != .none, let name = demangling(linked) else { return false }
    // `f[abi:cxx11]()` is a name before it is a pattern.
    if pattern.text == name || pattern.matches(name) { return true }
    if pattern.matches(shortened(name, mangling)) { return true }
    guard mangling == .cxx else { return false }
    let bare = Self.withoutParameters(name)
    if bare.count < name.count, pattern.text == bare || pattern.matches(bare) { return true }
    let short = Self.withoutResult(bare)
    guard short.count < bare.count else { return false }
    return pattern.matches(short) || pattern.matches(short + name.dropFirst(bare.count))
  }

  /// `long ns::f<long>` is `ns::f<long>`: a template's instances begin with what they return.
  ///
  /// `ns::X::operator unsigned long` is all name.
  static func withoutResult(_ name: String) -> String {
    let bytes = Array(name.utf8)
    let end = operatorStart(bytes) ?? bytes.count
    var (nested, angles, start) = (0, 0, 0)
    for index in 0..<end {
      switch bytes[index] {
      case UInt8(ascii: "("), UInt8(ascii: "["), UInt8(ascii: "{"): nested += 1
      case UInt8(ascii: ")"), UInt8(ascii: "]"), UInt8(ascii: "}"): nested -= 1
      case UInt8(ascii: "<") where nested == 0: angles += 1
      case UInt8(ascii: ">") where nested == 0: angles -= 1
      case UInt8(ascii: " ") where nested == 0 && angles == 0: start = index + 1
      default: break
      }
    }
    return String(decoding: bytes[start...], as: UTF8.self)
  }

  /// Where the word `operator` begins, which is no part of a longer one.
  private static func operatorStart(_ bytes: [UInt8]) -> Int? {
    let word = Array("operator".utf8)
    func isOfWord(_ index: Int) -> Bool {
      guard bytes.indices.contains(index) else { return false }
      let letter = bytes[index] | 0x20
      return (0x61...0x7a).contains(letter) || (0x30...0x39).contains(bytes[index])
        || bytes[index] == UInt8(ascii: "_")
    }
    return bytes.indices.first { index in
      bytes[index...].starts(with: word) && !isOfWord(index - 1) && !isOfWord(index + word.count)
    }
  }

  /// `ns::f(int) const` is `ns::f`; `operator()(int)` keeps its own parentheses.
  static func withoutParameters(_ name: String) -> String {
    let bytes = Array(name.utf8)
    var depth = 0
    for index in bytes.indices.reversed() {
      if bytes[index] == UInt8(ascii: ")") { depth += 1 }
      guard bytes[index] == UInt8(ascii: "(") else { continue }
      depth -= 1
      if depth == 0 { return String(decoding: bytes[..<index], as: UTF8.self) }
    }
    return name
  }
}
