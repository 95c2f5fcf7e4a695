// SPDX-License-Identifier: Apache-2.0

import CUnloadLab
import CallSites
import Glibc
import LivePatching

extension Stage {
  /// Both designs on a library that nobody here wrote: record, convert, unload; then sites from the
  /// build, armed, disarmed, restored, audited. `symbol` is called as `long f(void)` throughout.
  public func play(library path: String, calling symbol: String) throws -> SceneReport {
    let table = try SiteTable.load(path: path, decoder: decoder)
    var report = SceneReport(
      name: "library", title: "both designs on \(path.split(separator: "/").last ?? "")")
    guard !table.sites.isEmpty else {
      throw LibraryError(
        text: "\(path): has no call sites; build it with -pg, -pg -mfentry or "
          + "-fpatchable-function-entry=5")
    }
    guard table.buildID != nil else {
      throw LibraryError(text: "\(path): has no build-id; link it with -Wl,--build-id")
    }
    let forms = Dictionary(grouping: table.sites, by: \.form).sorted {
      $0.key.rawValue < $1.key.rawValue
    }
    .map { "\(grouped($0.value.count)) \($0.key.name)" }.joined(separator: ", ")
    report.say(
      "  \(grouped(table.sites.count)) call sites (\(forms)), \(table.skipped.count) skipped")
    let expected = try daemonRun(path, symbol, table, &report)
    try staticRun(path, symbol, table, expected, &report)
    report.data["sites"] = JSONValue(table.sites.count)
    return report
  }

  private typealias Workload = @convention(c) () -> Int

  private func timed(_ workload: Workload) -> (result: Int, milliseconds: Double) {
    let began = monotonicNanoseconds()
    let result = workload()
    return (result, Double(monotonicNanoseconds() - began) / 1e6)
  }

  /// 2.6.27 with the zap. Returns what the workload returned.
  private func daemonRun(
    _ path: String, _ symbol: String, _ table: SiteTable, _ report: inout SceneReport
  ) throws -> Int {
    let engine = DaemonEngine(version: .zapped, intervalMicroseconds: 600_000_000)
    try engine.attach()
    defer { engine.detach() }
    let library = try Library(path: path)
    defer { library.close() }
    let module = try loaded(table)
    let workload = unsafeBitCast(try library.symbol(symbol), to: Workload.self)
    if let site = table.sites.first(where: { $0.form == .e8 && $0.kind == .mcount }) {
      try engine.register(
        InstrumentedText(
          start: module.text.lowerBound, end: module.text.upperBound,
          mcountStub: module.loadBias + table.target(of: site)))
    }
    let first = timed(workload)
    let records = engine.statistics.records
    try engine.waitForCycle(now: true)
    let second = timed(workload)
    try engine.waitForCycle(now: true)
    let statistics = engine.statistics
    let nops = countNops(table, module)
    report.say("  2.6.27 + the zap")
    report.say(
      "    \(symbol)() = \(first.result): \(grouped(records)) sites recorded, "
        + "\(decimal(first.milliseconds)) ms through mcount")
    report.say(
      "    converted: \(grouped(statistics.conversions)) nops, \(statistics.faulted) faults, "
        + "\(statistics.mismatched) mismatches; again = \(second.result), "
        + "\(decimal(second.milliseconds)) ms")
    if statistics.skippedCalls > 0 {
      report.say(
        "    \(grouped(statistics.skippedCalls)) calls came from sites it does not handle "
          + "(not e8): skipped")
    }
    library.close()
    let released = engine.statistics
    report.say(
      "    dlclose: \(grouped(released.released)) records released, \(released.records) left")
    report.expect("the workload's result is the same with nops", first.result == second.result)
    report.expect(
      "every recorded site became a nop, with no fault and no mismatch",
      UInt64(nops) == statistics.conversions && statistics.faulted + statistics.mismatched == 0)
    report.expect("dlclose left no record behind", released.records == 0)
    report.data["recorded"] = JSONValue(records)
    report.data["converted"] = JSONValue(statistics.conversions)
    return first.result
  }

  /// 2.6.28, then everything back.
  private func staticRun(
    _ path: String, _ symbol: String, _ table: SiteTable, _ expected: Int,
    _ report: inout SceneReport
  ) throws {
    let engine = try StaticEngine(decoder: decoder)
    engine.adopt(table)
    let library = try engine.load(path)
    defer { library.close() }
    let module = try loaded(table)
    let workload = unsafeBitCast(try library.symbol(symbol), to: Workload.self)
    let nops = countNops(table, module)
    let plain = timed(workload)
    let armed = try engine.startTracer(nul_count_entry_address())
    let entries = nul_entries()
    let traced = timed(workload)
    let counted = nul_entries() - entries
    let disarmed = try engine.stopTracer()
    let again = timed(workload)
    try engine.detach()
    let restored = timed(workload)
    let audit = try auditText(of: getpid(), known: LoaderHook.change.map { [$0] } ?? [])
    let results = [plain, traced, again, restored].map(\.result)
    report.say("  2.6.28")
    report.say(
      "    \(grouped(nops)) of \(grouped(table.sites.count)) sites were nops before the first "
        + "function ran; result \(plain.result), \(decimal(plain.milliseconds)) ms")
    report.say(
      "    armed \(grouped(armed)): \(grouped(counted)) calls counted; disarmed "
        + "\(grouped(disarmed)); restored, result \(restored.result)")
    report.say(
      "    audit: \(audit.modules.count) modules, \(grouped(audit.bytesCompared)) bytes, "
        + "\(audit.unknownDifferences.count) differ unexplained")
    report.expect("every site was a nop when dlopen returned", nops == table.sites.count)
    report.expect("a tracer saw calls at the armed sites", counted > 0 && disarmed == armed)
    report.expect(
      "the workload's result never changed", results.allSatisfy { $0 == expected })
    report.expect(
      "restored: the audit finds no byte that is not the file's",
      audit.unknownDifferences.isEmpty)
    report.data["armed"] = JSONValue(armed)
    report.data["counted"] = JSONValue(counted)
    report.data["bytesAudited"] = JSONValue(audit.bytesCompared)
    report.data["result"] = JSONValue(expected)
  }

  private func loaded(_ table: SiteTable) throws -> LoadedModule {
    guard let module = LoadedModule.find(buildID: table.buildID ?? []) else {
      throw LibraryError(text: "\(table.path): is loaded, but not with this file's build-id")
    }
    return module
  }

  /// Sites that hold one nop now.
  private func countNops(_ table: SiteTable, _ module: LoadedModule) -> Int {
    table.sites.count { site in
      let bytes = readBytes(at: module.loadBias + site.offset, count: site.length)
      let isOwn = site.form == .nop5 || site.form == .nop6
      return bytes == (isOwn ? table.originalBytes(of: site) : Code.nop(length: site.length).bytes)
    }
  }
}
