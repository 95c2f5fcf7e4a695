// SPDX-License-Identifier: Apache-2.0

import Audit
import CUnloadLab
import CallSites
import Glibc
import LivePatching
import TextFormat
import Units

extension Stage {
  /// Both designs on a library that the user names.
  ///
  /// Record, convert, unload; then sites from the build, armed, disarmed, restored, audited.
  /// `symbol` is called as `long f(void)` throughout.
  public func play(library path: String, calling symbol: String) throws -> SceneReport {
    let table = try SiteTable.load(path: path, decoder: decoder)
    var report = SceneReport(
      name: "library", title: "both designs on \(brief(path.split(separator: "/").last ?? ""))")
    guard !table.sites.isEmpty else {
      throw LibraryError(
        text: "\(path): has no call sites; build it with -pg, -pg -mfentry or "
          + "-fpatchable-function-entry=5")
    }
    guard table.buildID != nil else {
      throw LibraryError(text: "\(path): has no build-id; link it with -Wl,--build-id")
    }
    let forms = CallSite.Form.allCases.compactMap { form in
      let count = table.sites.count { $0.form == form }
      return count > 0 ? "\(grouped(count)) \(form.name)" : nil
    }
    report.say(
      "\(counted(table.sites.count, "call site")) (\(forms.joined(separator: ", "))), "
        + "\(grouped(table.skipped.count)) skipped")
    report.say("\(brief(symbol))() is called after each step, and timed.")
    report.skip()
    let expected = try daemonRun(path, symbol, table, &report)
    try staticRun(path, symbol, table, expected, &report)
    report.data["sites"] = JSONValue(table.sites.count)
    return report
  }

  private typealias Workload = @convention(c) () -> Int
  private typealias Run = (result: Int, milliseconds: Double)

  /// A name from outside, short enough for a line.
  private func brief(_ name: some StringProtocol) -> String {
    name.count <= 48 ? String(name) : name.prefix(47) + "…"
  }

  private func outcome(_ run: Run) -> String {
    "returns \(run.result) after \(fixed(run.milliseconds, 1)) ms"
  }

  private func timed(_ workload: Workload) -> Run {
    let began = monotonicNanoseconds()
    let result = workload()
    return (result, Double(monotonicNanoseconds() - began) / 1e6)
  }

  /// 2.6.27 with the zap; returns what the workload returned.
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
    try register(module, table, engine)
    let ready = countNops(table, module)  // a compiler's own
    let first = timed(workload)
    let recorded = engine.statistics.records
    try engine.waitForCycle(now: true)
    let second = timed(workload)
    try engine.waitForCycle(now: true)
    let statistics = engine.statistics
    let nops = countNops(table, module) - ready
    library.close()
    let released = engine.statistics
    say(first, second, recorded, statistics, released, &report)
    report.expect("the workload's result is the same with nops", first.result == second.result)
    report.expect(
      "every recorded site became a nop, with no fault and no mismatch",
      UInt64(nops) == statistics.conversions && statistics.faulted + statistics.mismatched == 0)
    report.expect("dlclose left no record behind", released.records == 0)
    report.data["recorded"] = JSONValue(recorded)
    report.data["converted"] = JSONValue(statistics.conversions)
    return first.result
  }

  private func register(
    _ module: LoadedModule, _ table: SiteTable, _ engine: DaemonEngine
  ) throws {
    guard let site = table.sites.first(where: { $0.form == .e8 && $0.kind == .mcount }) else {
      return
    }
    try engine.register(
      InstrumentedText(
        start: module.text.lowerBound, end: module.text.upperBound,
        mcountStub: module.loadBias + table.target(of: site)))
  }

  private func say(
    _ first: Run, _ second: Run, _ recorded: UInt64, _ converted: DaemonStatistics,
    _ released: DaemonStatistics, _ report: inout SceneReport
  ) {
    report.say("{head}2.6.27 with the zap{/}: sites found by running them, dropped by dlclose")
    list(
      ["first call": outcome(first), "": "\(counted(recorded, "site")) recorded"], in: &report)
    if converted.skippedCalls > 0 {
      let calls = counted(converted.skippedCalls, "call")
      let words = "\(calls) from sites that are not e8 calls, which that design does not handle: "
      list(["": words + "skipped"], in: &report)
    }
    list(
      [
        "the daemon": "\(counted(converted.conversions, "site")) made a nop, "
          + "\(counted(converted.faulted, "fault")), "
          + "\(counted(converted.mismatched, "failed comparison"))",
        "called again": outcome(second),
        "dlclose": "\(counted(released.released, "record")) released, "
          + "\(grouped(released.records)) left",
      ], in: &report)
    report.skip()
  }

  /// What the workload did under 2.6.28, and what its tracer saw.
  private struct StaticRun {
    var nops, armed, disarmed: Int
    var entries: UInt64
    /// With nops, armed, disarmed, restored.
    var runs: [Run]
  }

  /// 2.6.28, then everything back.
  private func staticRun(
    _ path: String, _ symbol: String, _ table: SiteTable, _ expected: Int,
    _ report: inout SceneReport
  ) throws {
    let engine = try StaticEngine(decoder: decoder)
    try engine.adopt(table)
    let library = try engine.load(path)
    defer { library.close() }
    let run = try staticRun(
      engine, table, unsafeBitCast(try library.symbol(symbol), to: Workload.self))
    let audit = try auditText(of: getpid(), known: LoaderHook.change.map { [$0] } ?? [])
    say(run, audit, table, &report)
    report.expect("every site was a nop when dlopen returned", run.nops == table.sites.count)
    report.expect(
      "a tracer saw calls at the armed sites", run.entries > 0 && run.disarmed == run.armed)
    report.expect(
      "the workload's result never changed", run.runs.allSatisfy { $0.result == expected })
    report.expect(
      "restored: the audit finds no byte that is not the file's",
      audit.unknownDifferences.isEmpty)
    report.data["armed"] = JSONValue(run.armed)
    report.data["counted"] = JSONValue(run.entries)
    report.data["bytesAudited"] = JSONValue(audit.bytesCompared)
    report.data["result"] = JSONValue(expected)
  }

  private func staticRun(
    _ engine: StaticEngine, _ table: SiteTable, _ workload: Workload
  ) throws -> StaticRun {
    let nops = countNops(table, try loaded(table))
    let plain = timed(workload)
    let armed = try engine.startTracer(nul_count_entry_address())
    let before = nul_entries()
    let traced = timed(workload)
    let entries = nul_entries() - before
    let disarmed = try engine.stopTracer()
    let again = timed(workload)
    try engine.detach()
    return StaticRun(
      nops: nops, armed: armed, disarmed: disarmed, entries: entries,
      runs: [plain, traced, again, timed(workload)])
  }

  private func say(
    _ run: StaticRun, _ audit: AuditReport, _ table: SiteTable, _ report: inout SceneReport
  ) {
    let unexplained = counted(audit.unknownDifferences.count, "place")
    report.say("{head}2.6.28{/}: sites from the build, all of them")
    list(
      [
        "dlopen": "\(grouped(run.nops)) of \(counted(table.sites.count, "site")) are nops",
        "as nops": outcome(run.runs[0]),
        "armed": outcome(run.runs[1]),
        "":
          "\(counted(run.armed, "site")) armed, \(counted(run.entries, "call")) seen by the tracer",
        "disarmed": outcome(run.runs[2]),
        "": "\(counted(run.disarmed, "site")) made nops again",
        "restored": outcome(run.runs[3]),
        "audit": "\(grouped(audit.bytesCompared)) bytes of text in "
          + "\(counted(audit.modules.count, "module")) compared with their files, \(unexplained) "
          + "unexplained",
      ], in: &report)
  }

  private func list(_ items: KeyValuePairs<String, String>, in report: inout SceneReport) {
    report.text += items.map { .item("  " + $0, $1, width: 18) }
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
