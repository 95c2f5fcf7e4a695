// SPDX-License-Identifier: Apache-2.0

extension Stage {
  /// The table: engines × occupants of the stale address × states of the record.
  func unload() throws -> SceneReport {
    var report = SceneReport(
      name: "unload", title: "dlclose, and what the engines do at the address afterwards")
    let experiment = UnloadExperiment(specimens)
    report.say(
      "  The specimen's site was recorded; dlclose; then the occupant lands there by itself.")
    report.say("  pending: the daemon wakes · converted: a tracer starts · enabled: it stops")
    for engine in engines {
      report.say()
      report.say("  " + head(engine).padded(to: 22) + columns.map { $0.padded(to: 18) }.joined())
      for occupant in Occupant.allCases {
        let cells = try RecordState.allCases.map { try experiment.cell(engine, occupant, $0) }
        report.cells += cells
        report.say(
          "  " + name(occupant).padded(to: 22)
            + cells.map { text($0).padded(to: 18) }.joined())
      }
    }
    let missed = report.cells.filter { !$0.held }
    let landed = report.cells.filter { $0.landed }
    let placed = report.cells.filter { $0.occupant != .nothing && !isUnreachable($0) }
    report.say()
    report.say(
      "  \(landed.count) of \(placed.count) occupants landed on the freed address with no hint"
        + (landed.count == placed.count ? "" : "; the others were placed there") + ".")
    report.expect(
      "all \(report.cells.count) cells came out as the two designs say", missed.isEmpty)
    report.data = [
      "landed": JSONValue(landed.count), "occupied": JSONValue(placed.count),
    ]
    return report
  }

  private var columns: [String] { ["pending", "converted", "enabled"] }

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
      case .deviceAccess: "{bad}\(cell.deviceReads) read, \(cell.deviceWrites) write{/}"
      case .neverNopped: "{bad}never a nop again{/}"
      case .unreachable: "{dim}no such state{/}"
      }
    return cell.held ? words : words + " {bad}UNEXPECTED{/}"
  }
}
