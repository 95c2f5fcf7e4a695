// SPDX-License-Identifier: Apache-2.0

/// A pattern of ftrace's grammar: `*` any text, `?` one character, `[a-z]` and `[!a-z]` one of a
/// class, `\` takes the next character as it is.
///
/// A class that is never closed is a literal `[`, as in the kernel (lib/glob.c): `operator[]`.
/// Compares bytes.
public struct Glob: Equatable, Sendable {
  /// The pattern as it was written.
  public let text: String
  private let pattern: [UInt8]
  /// The pattern holds none of `* ? [ \`.
  private let isLiteral: Bool
  /// Index of the last `]`: behind it no class is closed, which is then known without a search.
  private let lastClosing: Int

  /// Parses a pattern: any text is one.
  public init(_ text: String) {
    self.text = text
    pattern = Array(text.utf8)
    isLiteral = !pattern.contains { "*?[\\".utf8.contains($0) }
    lastClosing = pattern.lastIndex(of: UInt8(ascii: "]")) ?? -1
  }

  /// Whether the whole of `name` fits the pattern.
  public func matches(_ name: String) -> Bool {
    var name = name
    return name.withUTF8 { matches($0) }
  }

  func matches(_ name: UnsafeBufferPointer<UInt8>) -> Bool {
    if isLiteral { return name.elementsEqual(pattern) }
    // On a mismatch go back to the last star and let it take one byte more: no recursion, at most
    // pattern times name steps.
    var at = 0
    var next = 0
    var star: (at: Int, next: Int)?
    while next < name.count || at < pattern.count {
      if at < pattern.count, pattern[at] == UInt8(ascii: "*") {
        star = (at, next)
        at += 1
        continue
      }
      if next < name.count, let width = step(at, name[next]) {
        at += width
        next += 1
        continue
      }
      guard let last = star, last.next < name.count else { return false }
      star = (last.at, last.next + 1)
      at = last.at + 1
      next = last.next + 1
    }
    return true
  }

  /// Bytes of the pattern at `at` that stand for `byte`; nil where they do not.
  private func step(_ at: Int, _ byte: UInt8) -> Int? {
    guard at < pattern.count else { return nil }
    switch pattern[at] {
    case UInt8(ascii: "?"): return 1
    case UInt8(ascii: "["):
      guard let end = classEnd(at) else { break }
      return isInClass(byte, at + 1, end) ? end + 1 - at : nil
    case UInt8(ascii: "\\") where at + 1 < pattern.count:
      return pattern[at + 1] == byte ? 2 : nil
    default: break
    }
    return pattern[at] == byte ? 1 : nil
  }

  /// Index of the `]` that closes the class opened at `at`: the first one inside is a member.
  private func classEnd(_ at: Int) -> Int? {
    var index = at + 1
    if index < pattern.count, pattern[index] == UInt8(ascii: "!") { index += 1 }
    index += 1
    while index <= lastClosing {
      if pattern[index] == UInt8(ascii: "]") { return index }
      index += 1
    }
    return nil
  }

  private func isInClass(_ byte: UInt8, _ start: Int, _ end: Int) -> Bool {
    let isInverted = pattern[start] == UInt8(ascii: "!")
    var index = isInverted ? start + 1 : start
    while index < end {
      let first = pattern[index]
      if index + 2 < end, pattern[index + 1] == UInt8(ascii: "-") {
        if first <= byte, byte <= pattern[index + 2] { return !isInverted }
        index += 3
      } else {
        if first == byte { return !isInverted }
        index += 1
      }
    }
    return isInverted
  }
}
