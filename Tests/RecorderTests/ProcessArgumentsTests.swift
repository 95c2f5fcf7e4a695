// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

@testable import Recorder

/// What tells processes of one program apart.
@Suite struct ProcessArgumentsTests {
  static let lines: [(bytes: [UInt8], words: [String])] = [
    (Array("a\0-b\0c d\0".utf8), ["a", "-b", "c d"]), (Array("a\0\0".utf8), ["a", ""]),
    (Array("a: worker 3".utf8), ["a: worker 3"]), ([0x61, 0xff, 0], ["a\u{10ffff}"]),
    (
      Array("a\0".utf8) + [UInt8](repeating: 0x78, count: 2000),
      ["a", String(repeating: "x", count: 998) + "…"]
    ),
    (
      Array("a\0".utf8) + [UInt8](repeating: 0x78, count: 997) + [0],
      ["a", String(repeating: "x", count: 997)]
    ),
  ]

  @Test("a command line is split at its zero bytes, and cut", arguments: lines)
  func split(bytes: [UInt8], words: [String]) {
    #expect(arguments(ofCommandLine: bytes) == words)
  }

  @Test("a process has its arguments, one that is not there has none")
  func ofProcess() {
    #expect(processArguments(getpid()).first == CommandLine.arguments.first)
    #expect(processArguments(.max) == [])
  }
}
