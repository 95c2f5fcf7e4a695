// SPDX-License-Identifier: Apache-2.0

import CGlob

/// A pattern of ftrace's grammar: `*` any text, `?` one character, `[a-z]` and `[!a-z]` one of a
/// class, `\` takes the next character as it is.
///
/// A class that is never closed is a literal `[`, as in the kernel: `operator[]`. Compares bytes.
/// The agent compares names of threads by the same code: CSupport/CGlob.
public struct Glob: Equatable, Sendable {
  /// As it was given.
  public let text: String
  private let pattern: [UInt8]
  private let shape: ngl_shape

  /// Every text is a pattern.
  public init(_ text: String) {
    self.text = text
    let pattern = Array(text.utf8)
    shape = pattern.withUnsafeBufferPointer { ngl_shape_of($0.baseAddress, $0.count) }
    self.pattern = pattern
  }

  /// Two patterns are equal if their texts are.
  public static func == (left: Glob, right: Glob) -> Bool { left.text == right.text }

  /// Whether the whole of `name` matches.
  public func matches(_ name: String) -> Bool {
    var name = name
    return name.withUTF8 { name in
      pattern.withUnsafeBufferPointer { pattern in
        ngl_matches(pattern.baseAddress, pattern.count, shape, name.baseAddress, name.count)
      }
    }
  }
}
