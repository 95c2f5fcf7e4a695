// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Filters

/// Patterns as the kernel's lib/glob.c and ftrace have them.
@Suite struct GlobTests {
  @Test(
    "a pattern matches as ftrace's does",
    arguments: [
      ("read", "read", true), ("read", "reader", false), ("read", "rea", false),
      ("read*", "read", true), ("read*", "reader", true), ("read*", "thread", false),
      ("*read", "thread", true), ("*read", "reads", false), ("*read", "read", true),
      ("*read*", "threads", true), ("*read*", "red", false), ("*", "", true), ("*", "x", true),
      ("a*b*c", "aXbYc", true), ("a*b*c", "acb", false), ("a*b*c", "abbbc", true),
      ("*aab", "aaaab", true), ("a**b", "ab", true), ("?", "", false), ("?", "x", true),
      ("f?o", "fao", true), ("f?o", "fo", false), ("f?", "foo", false),
      ("f[ab]o", "fao", true), ("f[ab]o", "fco", false), ("f[!ab]o", "fco", true),
      ("f[!ab]o", "fao", false), ("f[a-c]o", "fbo", true), ("f[a-c]o", "fdo", false),
      ("f[]]o", "f]o", true), ("f[!]]o", "fxo", true), ("f[a-]o", "f-o", true),
      ("f[", "f[", true), ("operator[]", "operator[]", true), ("f[ab", "fa", false),
      ("\\*f", "*f", true), ("\\*f", "xf", false), ("a\\[b]", "a[b]", true),
      ("*\\?", "is?", true), ("*\\?", "isx", false), ("", "", true), ("", "x", false),
    ])
  func matches(pattern: String, name: String, expected: Bool) {
    #expect(Glob(pattern).matches(name) == expected)
  }

  @Test("many stars take no more than pattern times name")
  func stars() {
    let pattern = Glob(String(repeating: "a*", count: 200) + "b")
    let clock = ContinuousClock()
    let took = clock.measure {
      #expect(!pattern.matches(String(repeating: "a", count: 20_000)))
    }
    // Exponential matching would not end; ten seconds is no measure of speed.
    #expect(took < .seconds(10))
  }
}
