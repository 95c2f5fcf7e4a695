// SPDX-License-Identifier: Apache-2.0

import TextFormat

extension Stage {
  /// The table: engines × occupants of the stale address × states of the record.
  func unload() throws -> SceneReport {
    var report = SceneReport(
      name: "unload", title: "why it happened: addresses outlive their module")
    let experiment = UnloadExperiment(specimens)
    introduce(&report)
    for engine in engines {
      report.skip()
      report.show("{head}" + engine.title.padded(to: 20) + row(columns) + "{/}")
      var cellsOfEngine: [UnloadCell] = []
      for occupant in Occupant.allCases {
        let cells = try RecordState.allCases.map { try experiment.cell(engine, occupant, $0) }
        cellsOfEngine += cells
        report.show(name(occupant).padded(to: 20) + row(cells.map(text)))
      }
      report.cells += cellsOfEngine
      report.expect(claim(engine, cellsOfEngine), cellsOfEngine.allSatisfy(\.held))
    }
    explain(&report)
    sayLanded(&report)
    return report
  }

  private func introduce(_ report: inout SceneReport) {
    report.say(
      "An engine knows a call site of a module: it has a record. dlclose frees the module's memory, "
        + "something else is mapped there, and the engine goes on:")
    report.skip()
    report.show(
      "  {head}record     the site at dlclose   what comes next{/}",
      "  pending    called, still a call  the daemon wakes",
      "  converted  a nop                 a tracer starts",
      "  enabled    a call of the tracer  the tracer stops")
    report.skip()
    report.say(
      "\"+ Capstone\" looks at the bytes with a disassembler before it writes; \"+ the zap\" drops a "
        + "module's records at dlclose. What then happened to whatever stands at the address:")
  }

  private func explain(_ report: inout SceneReport) {
    report.skip()
    report.list(
      [
        "fault": "nothing is there: a page fault, which the engine catches",
        "write cycle": "the comparison failed, and the CPU wrote the old value back",
        "overwrote n": "n bytes that are another owner's by now are changed; of the five that were "
          + "written, others may be as before",
        "never a nop": "called again, found in the hash, left a slow call: the daemon woke here, "
          + "since a tracer that starts ends the stale record",
        "r/w n/m": "reads and writes of the card's registers",
        "impossible": "2.6.28 makes each site a nop before its first call",
      ], width: 13)
  }

  private func sayLanded(_ report: inout SceneReport) {
    let landed = report.cells.count { $0.landed }
    let placed = report.cells.count { $0.occupant != .nothing && $0.isReachable }
    report.say(
      "\(landed) of \(placed) occupants landed on the freed address by themselves"
        + (landed == placed ? "." : "; the others were put there by their address."))
    report.data = ["landed": JSONValue(landed), "occupied": JSONValue(placed)]
  }

  /// What stale records did, as measured.
  private func claim(_ engine: LabEngine, _ cells: [UnloadCell]) -> String {
    let wrote = cells.count { $0.didWrite }
    let reached = cells.count { $0.isReachable }
    let verdict = cells.allSatisfy(\.held) ? "confirmed" : "not confirmed"
    return "\(engine.title): \(verdict); a stale record wrote in \(wrote) of \(reached) cases"
  }

  private var columns: [String] { ["pending", "converted", "enabled"] }

  private func row(_ texts: [String]) -> String {
    let last = texts.count - 1
    return texts.enumerated().map { $0 < last ? $1.padded(to: 13) : $1 }.joined()
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
      case .fault: "fault"
      case .mismatchWriteCycle: "{bad}write cycle{/}"
      case .overwritten: "{bad}overwrote \(cell.bytesChanged){/}"
      case .deviceAccess:
        "\(cell.deviceWrites > 0 ? "{bad}" : "{warn}")r/w \(cell.deviceReads)/\(cell.deviceWrites){/}"
      case .neverNopped: "{bad}never a nop{/}"
      case .unreachable: "{dim}impossible{/}"
      }
    return cell.held ? words : words + " {bad}UNEXPECTED{/}"
  }
}
