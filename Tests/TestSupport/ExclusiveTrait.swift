// SPDX-License-Identifier: Apache-2.0

import Testing

/// Lets one test at a time run, among all that carry the trait, in whatever suite.
///
/// For tests that touch what a process has once: signal handlers, watched memory, text that other
/// tests execute, the loader's list of modules.
public struct ExclusiveTrait: TestTrait, SuiteTrait, TestScoping {
  public var isRecursive: Bool { true }

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

/// A lock that is held across suspension points, given to those who wait in order of arrival.
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
