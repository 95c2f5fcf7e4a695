// SPDX-License-Identifier: Apache-2.0

import RecordingReader
import TestSupport
import Testing
import Units

/// When threads were off the CPU.
@Suite struct SwitchTests {
  private func units(_ number: UInt64) -> ClockUnits { ClockUnits(number) }

  @Test("the time off the CPU before a moment is the sum of what lies before it")
  func sums() {
    var times = OffCPU([
      .init(from: units(10), to: units(20)), .init(from: units(30), to: units(35)),
    ])
    let asked: [UInt64] = [5, 10, 12, 12, 20, 25, 31, 34, 40, 100]
    #expect(
      asked.map { times.total(until: units($0)).rawValue } == [0, 0, 2, 2, 10, 10, 11, 14, 15, 15])
    var none = OffCPU([])
    #expect(none.total(until: units(7)) == .zero)
  }
}
