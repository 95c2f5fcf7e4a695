// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing
import Units

/// Times by a recording's clock.
@Suite struct ClockUnitsTests {
  @Test("two points in time give the time between them, and times are compared by their numbers")
  func differences() {
    let start = ClockUnits(1000)
    let end = ClockUnits(1234)
    #expect(end - start == ClockUnits(234))
    #expect((end - start).rawValue == 234)
    #expect(start < end && !(end < start) && !(start < start))
    #expect([end, .max, .zero, start].sorted() == [.zero, start, end, .max])
    #expect(ClockUnits.zero.rawValue == 0 && ClockUnits.max.rawValue == .max)
  }

  @Test("what a damaged file says is added and taken away modulo 2^64")
  func wrapping() {
    #expect(ClockUnits.max &+ 3 == 2)
    #expect(ClockUnits(2) &- 3 == .max)
    var sum = ClockUnits.max
    sum &+= 1
    #expect(sum == .zero)
    sum &+= 41
    #expect(sum == 41)
  }

  @Test("a time is shown with its unit")
  func shown() {
    #expect("\(ClockUnits(1234))" == "1234 units")
    #expect("\(ClockUnits(1))" == "1 unit")
  }

  @Test("a time is a plain number in JSON, and no more than one")
  func coded() throws {
    let times: [ClockUnits] = [0, 123_456, .max]
    let text = try JSONEncoder().encode(times)
    #expect(String(decoding: text, as: UTF8.self) == "[0,123456,18446744073709551615]")
    #expect(try JSONDecoder().decode([ClockUnits].self, from: text) == times)
    #expect(throws: DecodingError.self) {
      try JSONDecoder().decode([ClockUnits].self, from: Data("[-1]".utf8))
    }
  }

  @Test("it is as large as the number that it holds")
  func size() {
    #expect(MemoryLayout<ClockUnits>.size == 8 && MemoryLayout<ClockUnits>.stride == 8)
  }
}
