// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// A test that a runner must report, where it is asked to.
private func isAskedTo(_ what: String) -> Bool {
  ProcessInfo.processInfo.environment["NOPSCOPE_TEST_ENDS"] == what
}

@Suite(.ownProcess) struct OwnProcessTraitTests {
  @Test("A test has its process for itself", arguments: 0..<3)
  func alone(_: Int) throws {
    #expect(OwnProcess.isThis)
    let arguments = try String(contentsOfFile: "/proc/self/cmdline", encoding: .utf8)
    #expect(arguments.contains("OwnProcessTraitTests") && arguments.contains("--no-parallel"))
  }

  @Test func endsAsAsked() throws {
    #expect(!isAskedTo("badly"))
    if isAskedTo("by a signal") { abort() }
  }
}

@Suite struct OwnProcessTests {
  private static let test = "UnloadLabTests.OwnProcessTraitTests/endsAsAsked()"

  @Test(arguments: [
    ("well", nil), ("badly", "exit(1)"), ("by a signal", "signal(6)"),
  ])
  func whatFailsThereIsKnownHere(how: String, expected: String?) throws {
    let failure = try OwnProcess.run(Self.test, environment: ["NOPSCOPE_TEST_ENDS": how])
    #expect(failure?.split(separator: "\n").first.map(String.init) == expected)
    #expect(expected != "exit(1)" || failure?.contains("endsAsAsked() recorded an issue") == true)
  }

  @Test func aTestThatIsNotThereHasNotPassed() throws {
    #expect(try OwnProcess.run(Self.test + "/none") != nil)
  }
}
