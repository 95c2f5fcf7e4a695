// SPDX-License-Identifier: Apache-2.0

import LivePatching

extension Stage {
  /// The network card: what the stray access does to a working driver and to the NVM.
  func flash() throws -> SceneReport {
    var report = SceneReport(
      name: "flash", title: "a network card at the stale address (a model of one)")
    report.say(introduction)
    report.say("  {head}engine             write-back  PR0  r/w  checksum      the driver then{/}")
    var runs: [FlashRun] = []
    for engine in engines {
      for trial in trials(engine) {
        let run = try play(trial)
        runs.append(run)
        report.say(row(run))
        report.expect(claim(run), holds(run))
      }
    }
    report.say()
    report.say(legend)
    report.data = ["runs": .array(runs.map(json))]
    return report
  }

  private var introduction: [String] {
    [
      "  The e1000e's registers are a model (docs/story.md says of what); the",
      "  instructions that access them are real. The module is gone, the card's flash",
      "  registers are at its address: status and control lie under the four bytes of",
      "  the stale cmpxchg. The driver has begun to read the NVM, the card's settings",
      "  in flash. Then the daemon wakes (2.6.28 has no daemon: there, a tracer stops).",
      "",
    ]
  }

  private var legend: [String] {
    [
      "  r/w         the engine's reads and writes of registers, counted by the model",
      "  checksum    of the NVM before and after: BABA is valid, none: no NVM is left",
      "  write-back  what a failed cmpxchg did to the card is unknown: two models.",
      "              value read, by Intel's manual: clears the status that the driver",
      "              waits for. all ones: starts an erase at the address last used.",
      "  PR0 set     the driver's own fix of October 2008: the NVM is write-protected",
    ]
  }

  struct FlashTrial {
    var engine: LabEngine
    var writeBack: E1000eDevice.WriteBack
    var isProtected: Bool
  }

  struct FlashRun {
    var trial: FlashTrial
    /// Accesses of the engine, not of the driver.
    var reads, writes: UInt64
    var before, after: E1000eDevice.NVM
    /// What the driver's read, and then its checksum, came to.
    var complaint: String?
  }

  private func trials(_ engine: LabEngine) -> [FlashTrial] {
    let open = E1000eDevice.WriteBack.allCases.map {
      FlashTrial(engine: engine, writeBack: $0, isProtected: false)
    }
    let fixed = FlashTrial(engine: engine, writeBack: .allOnes, isProtected: true)
    return engine == .shipped ? open + [fixed] : [open[1]]
  }

  private func play(_ trial: FlashTrial) throws -> FlashRun {
    // A static engine's stale record is at best an enabled one; its tracer stops.
    let record: RecordState = trial.engine == .static ? .enabled : .pending
    let site = try StaleSite(trial.engine, record, specimens: specimens)
    defer { site.close() }
    let place = try site.unload(leaving: .device, writeBack: trial.writeBack)
    defer { place.vacate() }
    guard let device = place.device else {
      throw LibraryError(text: "the device could not be put at \(site.ip)")
    }
    let driver = try E1000eDriver(device)
    if trial.isProtected { try driver.writeProtect() }
    try driver.validate()
    let before = device.nvm
    var stray: (reads: UInt64, writes: UInt64) = (0, 0)
    var failure: (any Error)?
    var isFired = false
    driver.onCycleStarted {
      if isFired { return }
      isFired = true
      let counts = device.counts
      do { _ = try site.fire(at: .device) } catch { failure = error }
      stray = (device.counts.reads - counts.reads, device.counts.writes - counts.writes)
    }
    var complaint = complaint { _ = try driver.readWords(from: 0, count: 1) }
    if let failure { throw failure }
    let sum = self.complaint { try driver.validate() }
    complaint = complaint ?? sum
    return FlashRun(
      trial: trial, reads: stray.reads, writes: stray.writes, before: before, after: device.nvm,
      complaint: complaint)
  }

  private func complaint(_ work: () throws -> Void) -> String? {
    do {
      try work()
      return nil
    } catch {
      switch error as? E1000eDriverError {
      case .timedOut: return "waits in vain"
      case .badChecksum: return "refuses: checksum"
      default: return "\(error)"
      }
    }
  }

  private func isFixed(_ engine: LabEngine) -> Bool { engine == .zapped || engine == .static }

  private func holds(_ run: FlashRun) -> Bool {
    let isUntouched = run.reads == 0 && run.writes == 0 && run.complaint == nil
    guard run.before.isIntact else { return false }
    if isFixed(run.trial.engine) { return isUntouched && run.after.isIntact }
    if run.trial.engine == .verified {
      return run.reads > 0 && run.writes == 0 && run.after.isIntact
    }
    guard run.reads == 1, run.writes == 1 else { return false }
    if run.trial.writeBack == .valueRead { return run.after.isIntact && run.complaint != nil }
    return run.trial.isProtected ? run.after.isIntact : !run.after.isIntact
  }

  private func claim(_ run: FlashRun) -> String {
    let engine = name(run.trial.engine)
    if isFixed(run.trial.engine) { return "\(engine): no access, the NVM intact" }
    if run.trial.engine == .verified { return "\(engine): the registers are read, not written" }
    if run.trial.writeBack == .valueRead {
      return "\(engine), value read: the NVM intact, the driver's wait fails"
    }
    return run.trial.isProtected
      ? "\(engine), all ones, PR0 set: the NVM intact" : "\(engine), all ones: the NVM is gone"
  }

  private func name(_ engine: LabEngine) -> String {
    switch engine {
    case .shipped: "2.6.27 shipped"
    case .verified: "2.6.27 + Capstone"
    case .zapped: "2.6.27 + the zap"
    case .static: "2.6.28"
    }
  }

  private func row(_ run: FlashRun) -> String {
    let back = run.trial.writeBack == .valueRead ? "value read" : "all ones"
    let mark = run.after.isIntact ? "{good}" : "{bad}"
    let sums = "\(sum(run.before)) -> \(mark)\(sum(run.after)){/}"
    let words = run.complaint.map { "{bad}\($0){/}" } ?? "{good}works on{/}"
    return "  " + name(run.trial.engine).padded(to: 19) + back.padded(to: 12)
      + (run.trial.isProtected ? "set" : "-").padded(to: 5)
      + "\(run.reads)/\(run.writes)".padded(to: 5) + sums.padded(to: 14) + words
  }

  private func sum(_ nvm: E1000eDevice.NVM) -> String {
    nvm.validBank == nil ? "none" : String(nvm.sum, radix: 16, uppercase: true)
  }

  private func json(_ run: FlashRun) -> JSONValue {
    .object([
      "engine": .string(run.trial.engine.rawValue),
      "writeBack": .string(run.trial.writeBack == .valueRead ? "value" : "ones"),
      "protected": .boolean(run.trial.isProtected), "deviceReads": JSONValue(run.reads),
      "deviceWrites": JSONValue(run.writes), "checksumBefore": JSONValue(run.before.sum),
      "checksumAfter": JSONValue(run.after.sum), "intact": .boolean(run.after.isIntact),
      "driver": run.complaint.map { .string($0) } ?? .null,
    ])
  }
}
