// SPDX-License-Identifier: Apache-2.0

import Testing

/// Of all tests with this trait, in all suites, only one runs at a time.
///
/// For tests that change what a process has only once: signal handlers, watched memory, text that
/// other tests execute, the loader's list of modules.
public struct ExclusiveTrait: TestTrait, SuiteTrait, TestScoping {
  /// It holds for the tests in a suite.
  public var isRecursive: Bool { true }

  /// Runs the test while no other test with this trait runs.
  public func provideScope(
    for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
  ) async throws {
    await ExclusiveLock.shared.take()
    do {
      try await function()
    } catch {
      await ExclusiveLock.shared.release()
      throw error
    }
    await ExclusiveLock.shared.release()
  }
}

extension Trait where Self == ExclusiveTrait {
  /// See `ExclusiveTrait`.
  public static var exclusive: Self { Self() }
}

/// A lock that a task may hold across suspension points. Waiting tasks get it in order of arrival.
private actor ExclusiveLock {
  static let shared = ExclusiveLock()

  private var isTaken = false
  private var waiting: [CheckedContinuation<Void, Never>] = []

  func take() async {
    guard isTaken else {
      isTaken = true
      return
    }
    await withCheckedContinuation { waiting.append($0) }
  }

  func release() {
    guard !waiting.isEmpty else {
      isTaken = false
      return
    }
    waiting.removeFirst().resume()
  }
}
