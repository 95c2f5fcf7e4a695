// SPDX-License-Identifier: Apache-2.0

import CUnloadLab
import LivePatching
import TextFormat

extension Stage {
  /// The network card: what the stray access does to a working driver and to the NVM.
  func flash() throws -> SceneReport {
    var report = SceneReport(name: "flash", title: "what happened: a network card is erased")
    var runs: [FlashRun] = []
    for engine in engines {
      for trial in trials(engine) {
        let run = try play(trial)
        runs.append(run)
        report.expect(claim(run), holds(run))
        if !trial.isProtected, !(report.isCardErased[engine] ?? false) {
          report.isCardErased[engine] = !run.after.isIntact
        }
      }
    }
    introduce(&report)
    if let erased = runs.first(where: { !$0.after.isIntact }) { show(erased, in: &report) }
    report.skip()
    explain(&report)
    report.show("{head}engine      writes  PR0  r/w  NVM           the driver{/}")
    for run in runs { report.show(row(run)) }
    report.data = ["runs": .array(runs.map(json))]
    return report
  }

  private func introduce(_ report: inout SceneReport) {
    report.say(
      "A card keeps its settings and its ids in flash memory: its NVM, non-volatile memory. A "
        + "module was unloaded, but the tracer still has an address in it. The registers by which a "
        + "driver works the card's flash are at that address now. The driver has begun to read the "
        + "NVM. Then the tracer changes what it takes for its own code, by a compare-and-swap "
        + "(cmpxchg).")
  }

  /// The card before and after, as somebody with a programmer on its flash chip sees it.
  private func show(_ run: FlashRun, in report: inout SceneReport) {
    if run.trial.writeBack == .allOnes {
      report.say("If a failed cmpxchg writes all ones to the card, this is what happens:")
    }
    report.skip()
    report.show(
      "NVM before  {code}\(hexDigits(run.bytesBefore, separator: " ")){/} …",
      "            checksum \(sum(run.before)), which is \(run.before.isIntact ? "valid" : "not valid")"
    )
    report.list(
      [
        "the tracer": "\(counted(run.reads, "read")) and \(counted(run.writes, "write")) of the "
          + "card's registers; the card ran \(counted(run.erases, "erase"))"
      ], width: 12)
    report.show(
      "NVM after   {bad}\(hexDigits(run.bytesAfter, separator: " ")){/} …",
      "            {bad}\(run.after.validBank == nil ? "erased: no valid NVM is left" : "not valid"){/}"
    )
    if let failure = run.failure { report.list(["the driver": "{bad}\(failure){/}"], width: 12) }
  }

  private func explain(_ report: inout SceneReport) {
    report.say(
      "The card is a model (docs/story.md says of what); the instructions that access it are real. "
        + "Nobody knows what a failed cmpxchg wrote to a card in 2008, so there are two models of "
        + "it. Here are both, and the designs that came after. In 2.6.27 the tracer's daemon wakes; "
        + "2.6.28 has no daemon, there a tracer stops.")
    report.skip()
    report.list(terms, width: 12)
    report.skip()
  }

  private var terms: KeyValuePairs<String, String> {
    [
      "+ Capstone": "the bytes are looked at by a disassembler before each cmpxchg",
      "+ the zap": "to zap is to drop a module's addresses from the tracer's hash when it is "
        + "unloaded",
      "writes": "ones: the failed cmpxchg writes all ones, which start an erase at the address "
        + "last used; value: it writes what it read, by Intel's manual, and so clears the status "
        + "that the driver waits for",
      "PR0": "the register \"protected range 0\". By the driver's own fix of October 2008 it "
        + "protects the NVM against writes",
      "r/w": "the tracer's reads and writes of registers",
      "NVM": "its checksum before and after; none: erased",
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
    /// The first bytes of the NVM in the flash.
    var bytesBefore, bytesAfter: [UInt8]
    /// Erases that the card ran.
    var erases: UInt64
    /// What the driver's read, and then its checksum, failed with.
    var failure: E1000eDriverError?
  }

  private func trials(_ engine: LabEngine) -> [FlashTrial] {
    let ones = FlashTrial(engine: engine, writeBack: .allOnes, isProtected: false)
    if engine != .shipped { return [ones] }
    return [
      ones, FlashTrial(engine: engine, writeBack: .valueRead, isProtected: false),
      FlashTrial(engine: engine, writeBack: .allOnes, isProtected: true),
    ]
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
    let bytes = nvmBytes(device, bank: before.validBank)
    var stray = (reads: UInt64(0), writes: UInt64(0))
    var failure: (any Error)?
    var isFired = false
    driver.onCycleStarted {
      if isFired { return }
      isFired = true
      let counts = device.counts
      do { _ = try site.fire(at: .device) } catch { failure = error }
      stray = (device.counts.reads - counts.reads, device.counts.writes - counts.writes)
    }
    let reading = driverFailure { () throws(E1000eDriverError) in
      _ = try driver.readWords(from: 0, count: 1)
    }
    if let failure { throw failure }
    let checking = driverFailure { () throws(E1000eDriverError) in try driver.validate() }
    return FlashRun(
      trial: trial, reads: stray.reads, writes: stray.writes, before: before, after: device.nvm,
      bytesBefore: bytes, bytesAfter: nvmBytes(device, bank: before.validBank),
      erases: device.counts.erases,
      failure: reading ?? checking)
  }

  private func driverFailure(
    _ work: () throws(E1000eDriverError) -> Void
  ) -> E1000eDriverError? {
    do throws(E1000eDriverError) {
      try work()
      return nil
    } catch { return error }
  }

  private func nvmBytes(_ device: E1000eDevice, bank: Int?) -> [UInt8] {
    let start = Int(E1000E_NVM_OFFSET) + (bank ?? 0) * Int(E1000E_BANK_SIZE)
    return Array(device.flash[start...].prefix(12))
  }

  private func isFixed(_ engine: LabEngine) -> Bool { engine == .zapped || engine == .static }

  private func holds(_ run: FlashRun) -> Bool {
    let isUntouched = run.reads == 0 && run.writes == 0 && run.failure == nil
    guard run.before.isIntact else { return false }
    if isFixed(run.trial.engine) { return isUntouched && run.after.isIntact }
    if run.trial.engine == .verified {
      return run.reads > 0 && run.writes == 0 && run.after.isIntact
    }
    guard run.reads == 1, run.writes == 1 else { return false }
    if run.trial.writeBack == .valueRead { return run.after.isIntact && run.failure != nil }
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
    engine == .shipped ? "2.6.27 shipped" : engine.title
  }

  /// As a row of the table begins: what it has beyond the row above it.
  private func rowName(_ engine: LabEngine) -> String {
    switch engine {
    case .shipped: "2.6.27"
    case .verified: "+ Capstone"
    case .zapped: "+ the zap"
    case .static: "2.6.28"
    }
  }

  private func row(_ run: FlashRun) -> String {
    let back = run.trial.writeBack == .valueRead ? "value" : "ones"
    let access = run.writes > 0 ? "{bad}" : run.reads > 0 ? "{warn}" : "{good}"
    let mark = run.after.isIntact ? "{good}" : "{bad}"
    let sums = "\(sum(run.before)) -> \(mark)\(sum(run.after)){/}"
    let words =
      switch run.failure {
      case nil: "{good}works on{/}"
      case .timedOut: "{bad}waits in vain{/}"
      case .badChecksum: "{bad}refuses it{/}"
      case _?: "{bad}fails{/}"
      }
    let fields = [
      (rowName(run.trial.engine), 12), (back, 8),
      (run.trial.isProtected ? "{good}set{/}" : "-", 5),
      ("\(access)\(run.reads)/\(run.writes){/}", 5), (sums, 14),
    ]
    return fields.map { $0.padded(to: $1) }.joined() + words
  }

  /// As `--json` has it.
  private func words(_ failure: E1000eDriverError) -> String {
    switch failure {
    case .timedOut: "waits in vain"
    case .badChecksum: "refuses: checksum"
    default: "\(failure)"
    }
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
      "driver": run.failure.map { .string(words($0)) } ?? .null,
    ])
  }
}
