// SPDX-License-Identifier: Apache-2.0

import TextFormat

extension Stage {
  /// The table: engines × occupants of the stale address × states of the record.
  func unload() throws -> SceneReport {
    var report = SceneReport(
      name: "unload", title: "the bug: dlclose, and the engine still has the address")
    let experiment = UnloadExperiment(specimens)
    report.say(introduction)
    for engine in engines {
      report.say()
      report.say("  {head}" + head(engine).padded(to: 22) + row(columns) + "{/}")
      var cellsOfEngine: [UnloadCell] = []
      for occupant in Occupant.allCases {
        let cells = try RecordState.allCases.map { try experiment.cell(engine, occupant, $0) }
        cellsOfEngine += cells
        report.say("  " + name(occupant).padded(to: 22) + row(cells.map(text)))
      }
      report.cells += cellsOfEngine
      report.expect(claim(engine, cellsOfEngine), cellsOfEngine.allSatisfy(\.held))
    }
    let landed = report.cells.filter { $0.landed }
    let placed = report.cells.filter { $0.occupant != .nothing && !isUnreachable($0) }
    report.say()
    report.say(legend)
    report.say(
      "  \(landed.count) of \(placed.count) occupants landed on the freed address by themselves"
        + (landed.count == placed.count ? "." : ";"))
    if landed.count != placed.count { report.say("  the others were put there by their address.") }
    report.data = [
      "landed": JSONValue(landed.count), "occupied": JSONValue(placed.count),
    ]
    return report
  }

  private var introduction: [String] {
    [
      "  An engine knows a call site of a module: it has a record. dlclose frees the",
      "  module's memory, something else is mapped there, and the engine goes on:",
      "",
      "    {head}record      at dlclose the site is  what the engine does next{/}",
      "    pending     called, still a call    the daemon wakes",
      "    converted   a nop                   a tracer starts",
      "    enabled     a call of the tracer    the tracer stops",
      "",
      "  \"+ Capstone\" looks and decodes before it writes; \"+ the zap\" drops a module's",
      "  records at dlclose. What then happened to whatever stands at the address:",
    ]
  }

  private var legend: [String] {
    [
      "  fault, caught    nothing is there: a page fault, which the engine catches",
      "  write cycle      the comparison failed, and the CPU wrote the old value back",
      "  overwritten 5    five bytes that are another owner's by now are changed",
      "  never a nop      called again, found in the hash, left a slow call: the daemon",
      "                   woke here, since a tracer that starts ends the stale record",
      "  no such state    2.6.28 makes each site a nop before its first call",
    ]
  }

  /// What stale records did, as measured: they wrote to the occupant, with or without a change.
  private func claim(_ engine: LabEngine, _ cells: [UnloadCell]) -> String {
    let wrote = cells.count { $0.bytesChanged > 0 || $0.writeCycles ?? 0 > 0 }
    let reached = cells.count { !isUnreachable($0) }
    return "\(head(engine)): as foreseen; a stale record wrote in \(wrote) of \(reached) cases"
  }

  private var columns: [String] { ["pending", "converted", "enabled"] }

  private func row(_ texts: [String]) -> String {
    let last = texts.count - 1
    return texts.enumerated().map { $0 < last ? $1.padded(to: 18) : $1 }.joined()
  }

  private func isUnreachable(_ cell: UnloadCell) -> Bool {
    cell.engine == .static && cell.record == .pending
  }

  private func head(_ engine: LabEngine) -> String {
    switch engine {
    case .shipped: "2.6.27 as shipped"
    case .verified: "2.6.27 + Capstone"
    case .zapped: "2.6.27 + the zap"
    case .static: "2.6.28"
    }
  }

  private func name(_ occupant: Occupant) -> String {
    switch occupant {
    case .nothing: "  nothing"
    case .otherBytes: "  other bytes"
    case .sameBytes: "  the same 5 bytes"
    case .otherModule: "  another module"
    case .sameModule: "  the same module"
    case .device: "  e1000e registers"
    }
  }

  private func text(_ cell: UnloadCell) -> String {
    let words =
      switch cell.outcome {
      case .untouched: "{good}untouched{/}"
      case .fault: "fault, caught"
      case .mismatchWriteCycle: "{bad}write cycle{/}"
      case .overwritten: "{bad}overwritten \(cell.bytesChanged){/}"
      case .deviceAccess:
        "{bad}\(counted(cell.deviceReads, "read")), \(counted(cell.deviceWrites, "write")){/}"
      case .neverNopped: "{bad}never a nop{/}"
      case .unreachable: "{dim}no such state{/}"
      }
    return cell.held ? words : words + " {bad}UNEXPECTED{/}"
  }
}
