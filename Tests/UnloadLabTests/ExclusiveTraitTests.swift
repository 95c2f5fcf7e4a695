// SPDX-License-Identifier: Apache-2.0

import Synchronization
import TestSupport
import Testing

private let running = Atomic<Int>(0)

private func meet() async throws {
  #expect(running.add(1, ordering: .sequentiallyConsistent).newValue == 1)
  try await Task.sleep(for: .milliseconds(2))
  running.subtract(1, ordering: .sequentiallyConsistent)
}

// Two suites, so that the trait is seen to reach across them. In a parallel run these meet, at once
// and often, if the trait is taken away from either.
@Suite(.exclusive) struct ExclusiveTraitTests {
  @Test("Exclusive tests of one suite never overlap", arguments: 0..<10)
  func alone(_: Int) async throws { try await meet() }
}

@Suite(.exclusive) struct ExclusiveTraitAcrossSuitesTests {
  @Test("Nor do those of two suites", arguments: 0..<10)
  func alone(_: Int) async throws { try await meet() }
}
