// SPDX-License-Identifier: Apache-2.0

import Testing
import TraceAnalysis

/// Functions of one name in several modules.
@Suite struct ModuleMarksTests {
  @Test(
    "paths are as short as they can be and still differ",
    arguments: [
      (["/a/first", "/b/second"], ["first", "second"]),
      (["/a/x", "/b/x", "/b/y"], ["a/x", "b/x", "y"]),
      (["/1/a/x", "/2/a/x", "/b/x"], ["1/a/x", "2/a/x", "b/x"]),
      (["/x", "/a/x"], ["/x", "a/x"]), (["x", "/x"], ["x", "/x"]), (["/a/x"], ["x"]),
      (["", "/"], ["", "/"]), ([], []),
    ] as [([String], [String])])
  func shortPaths(paths: [String], expected: [String]) {
    let short = ShortPaths(Set(paths))
    #expect(paths.map { short[$0] } == expected)
  }

  @Test("only labels of several modules are marked")
  func marks() {
    let functions = [
      ("main", "/a/first"), ("main", "/b/second"), ("work", "/a/first"), ("work", "/a/first"),
      ("lost", nil), ("lost", "/a/first"),
    ]
    let marks = ModuleMarks(functions.map { (label: $0.0, module: $0.1) })
    #expect(
      functions.map { marks.marked($0.0, module: $0.1) } == [
        "main [first]", "main [second]", "work", "work", "lost", "lost",
      ])
  }
}
