// SPDX-License-Identifier: Apache-2.0
//
// Tests that patch text, take signals, stop threads or fork need a process without other tests in
// it. Beside them Swift Testing runs others, on threads of libdispatch, which block every signal:
// one that computes there cannot be stopped, and what it starts, maps or opens is found by tests
// that look for such things.
//
// So the runner is started once more for each such test, with that test as its filter and nothing
// beside it. What fails there is recorded here. Meanwhile other tests run in this process.

import Foundation
import Testing

/// Lets each test run in a process of its own.
public struct OwnProcessTrait: TestTrait, SuiteTrait, TestScoping {
  /// A suite's trait is each of its tests'.
  public var isRecursive: Bool { true }

  /// Around a test with all its arguments, and not where it is in its own process already.
  public func scopeProvider(for test: Test, testCase: Test.Case?) -> Self? {
    test.isSuite || testCase != nil || OwnProcess.isThis ? nil : self
  }

  /// Starts the other process and records its failure here.
  ///
  /// The other process performs what this one is given to perform.
  public func provideScope(
    for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
  ) async throws {
    guard let failure = try OwnProcess.run(String(describing: test.id)) else { return }
    Issue.record("in its own process: \(failure)", sourceLocation: test.sourceLocation)
  }
}

extension Trait where Self == OwnProcessTrait {
  /// See `OwnProcessTrait`.
  public static var ownProcess: Self { Self() }
}

/// The runner, started again for one test.
public enum OwnProcess {
  static let variable = "NOPSCOPE_TEST_IN_OWN_PROCESS"

  /// Whether this process was started for the test that runs in it.
  public static var isThis: Bool { ProcessInfo.processInfo.environment[variable] != nil }

  /// Runs the test with this identifier, "Module.Suite/test(argument:)": nil where it passed, else
  /// what the other process said.
  public static func run(
    _ identifier: String, environment: [String: String?] = [:]
  ) throws -> String? {
    let result = try runChild(
      "/proc/self/exe",
      [
        "--testing-library", "swift-testing", "--no-parallel",
        "--filter", "^\(NSRegularExpression.escapedPattern(for: identifier))(/|$)",
      ],
      environment: environment.merging([
        variable: "1", FixtureFolder.variable: FixtureFolder.path, "NO_COLOR": "1",
        // The Swift runtime's own handlers for SIGTRAP and SIGSEGV.
        "SWIFT_BACKTRACE": "enable=no",
      ]) { $1 },
      timeoutSeconds: 1200)
    // A filter that fits nothing ends with another status too.
    if result.exitStatus == 0 { return nil }
    let log = (result.output + result.standardError).split(separator: "\n")
    let issues = log.filter { $0.contains("recorded an issue") || $0.hasPrefix("↳") }
    return "\(result.ending)\n" + (issues.isEmpty ? log.suffix(20) : issues).joined(separator: "\n")
  }
}
