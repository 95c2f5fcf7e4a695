// SPDX-License-Identifier: Apache-2.0

import MachineCode
import TestSupport
import Testing

@testable import UnloadLab

/// Cells of the table in this process, where several threads of the test runner are about.
@Suite(.ownProcess) struct UnloadExperimentTests {
  struct Cell: Sendable, CustomStringConvertible {
    var engine: LabEngine
    var occupant: Occupant
    var record: RecordState
    var outcome: Outcome
    var description: String { "\(engine), \(occupant), \(record): \(outcome)" }

    init(_ engine: LabEngine, _ occupant: Occupant, _ record: RecordState, _ outcome: Outcome) {
      (self.engine, self.occupant, self.record, self.outcome) = (engine, occupant, record, outcome)
    }
  }

  static let cells = [
    Cell(.shipped, .nothing, .pending, .fault),
    Cell(.shipped, .otherBytes, .converted, .mismatchWriteCycle),
    Cell(.shipped, .sameBytes, .pending, .overwritten),
    Cell(.shipped, .sameModule, .converted, .neverNopped),
    Cell(.shipped, .device, .enabled, .deviceAccess),
    Cell(.verified, .otherBytes, .pending, .untouched),
    Cell(.verified, .sameBytes, .converted, .overwritten),
    Cell(.verified, .otherModule, .enabled, .untouched),
    Cell(.verified, .device, .pending, .deviceAccess),
    Cell(.zapped, .sameBytes, .pending, .untouched),
    Cell(.zapped, .sameModule, .converted, .untouched),
    Cell(.zapped, .device, .pending, .untouched),
    Cell(.static, .sameBytes, .enabled, .untouched),
    Cell(.static, .sameModule, .converted, .untouched),
    Cell(.static, .device, .enabled, .untouched),
    Cell(.static, .nothing, .pending, .unreachable),
  ]

  @Test("an engine does at a stale address what its design says", arguments: cells)
  func cell(_ expected: Cell) throws {
    let specimens = try PreparedSpecimens(decoder: Decoder())
    let cell = try UnloadExperiment(specimens).cell(
      expected.engine, expected.occupant, expected.record)
    #expect(cell.outcome == expected.outcome)
    #expect((cell.bytesChanged > 0) == (expected.outcome == .overwritten))
    let isShippedOnDevice = expected.engine == .shipped && expected.occupant == .device
    #expect(cell.deviceWrites == (isShippedOnDevice ? 1 : 0))
    #expect((cell.deviceReads > 0) == (expected.outcome == .deviceAccess))
    if expected.outcome == .mismatchWriteCycle { #expect(cell.writeCycles == 1) }
  }

  @Test("after an experiment neither the engine nor the specimen is there")
  func leavesNothing() throws {
    let specimens = try PreparedSpecimens(decoder: Decoder())
    for engine in LabEngine.allCases {
      _ = try UnloadExperiment(specimens).cell(engine, .otherBytes, .enabled)
      let next = DaemonEngine(version: .shipped, intervalMicroseconds: 600_000_000)
      try next.attach()
      #expect(next.statistics.records == 0)
      next.detach()
    }
  }
}
