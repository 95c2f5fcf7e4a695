// SPDX-License-Identifier: Apache-2.0

import Audit
import CUnloadLab
import CallSites
import Glibc
import LivePatching
import TextFormat

extension Stage {
  private struct FlipRun {
    var sites = 0
    var flips: UInt64 = 0
    var calls: UInt64 = 0
    var wrong: UInt64 = 0
    var entries: UInt64 = 0
  }

  /// Today: sites flipped under running threads, by each protocol.
  func live() throws -> SceneReport {
    var report = SceneReport(
      name: "live", title: "today: code patched under running threads")
    try LoaderHook.install(decoder: decoder)
    let library = try Library(path: specimens.path)
    defer { library.close() }
    let module = try specimenModule()
    let patched = try PatchedModule(module: module, table: specimens.table, decoder: decoder)
    let stub = try EntryStubPage(near: module.span, destinations: [nul_count_entry_address()])
    McountMode.current = .off
    introduce(&report)
    var runs: [(PatchProtocol, FlipRun)] = []
    for method in [PatchProtocol.stopMachine, .jumpGuard, .breakpoint] {
      let run = try flip(patched, stub.stubs[0], method, library)
      report.expect(
        "\(name(method)): sites flipped under running threads, no result wrong",
        run.wrong == 0 && run.flips > 0 && run.calls > 0 && run.entries > 0)
      runs.append((method, run))
    }
    show(runs, in: &report)
    try patched.set(to: .original)
    report.data["protocols"] = .array(runs.map(json))
    try audit(&report)
    return report
  }

  private func introduce(_ report: inout SceneReport) {
    report.say(
      "Four threads call functions and check every result. Meanwhile the call sites go round: as "
        + "compiled, nop, call of a tracer, nop. Every change is verified by Capstone, a "
        + "disassembler, before it is written, and read back after; all sites or none.")
    report.skip()
    report.list(
      [
        "stop-machine": "signals the threads and writes while they wait",
        "jump guard": "first a 2-byte jump over the site (if at an even address)",
        "breakpoint": "first an int3, whose trap does what the old bytes did",
      ], width: 14)
    report.skip()
  }

  /// A column for each protocol: the numbers are long.
  private func show(_ runs: [(PatchProtocol, FlipRun)], in report: inout SceneReport) {
    func row(_ title: String, _ cell: (FlipRun) -> String) {
      let cells = runs.map { cell($0.1).leftPadded(to: 14) }
      report.show(title.padded(to: 14) + cells.joined())
    }
    let heads = runs.map { name($0.0).leftPadded(to: 14) }
    report.show("{head}" + String(repeating: " ", count: 14) + heads.joined() + "{/}")
    row("sites") { grouped($0.sites) }
    row("flips") { grouped($0.flips) }
    row("calls") { grouped($0.calls) }
    row("seen by tracer") { grouped($0.entries) }
    row("wrong results") { ($0.wrong == 0 ? "{good}" : "{bad}") + grouped($0.wrong) + "{/}" }
    report.say("(The tracer sees a recursive call many times, and a disarmed site not at all.)")
    report.skip()
  }

  private func name(_ method: PatchProtocol) -> String {
    switch method {
    case .stopMachine: "stop-machine"
    case .jumpGuard: "jump guard"
    default: "\(method)"
    }
  }

  private func json(_ method: PatchProtocol, _ run: FlipRun) -> JSONValue {
    .object([
      "protocol": .string("\(method)"), "sites": JSONValue(run.sites),
      "flips": JSONValue(run.flips), "calls": JSONValue(run.calls),
      "wrong": JSONValue(run.wrong), "entries": JSONValue(run.entries),
    ])
  }

  /// "Restored", proven: live text against the files.
  private func audit(_ report: inout SceneReport) throws {
    let audit = try auditText(of: getpid(), known: LoaderHook.change.map { [$0] } ?? [])
    let foreign = audit.unknownDifferences.count
    let verdict =
      foreign == 0
      ? ": {good}our jump in the loader{/}" : ", {bad}\(counted(foreign, "place")) unknown{/}"
    let isCompared = audit.modules.contains { $0.hasSuffix("/libSpecimen.so") }
    report.say(
      "Then all sites as compiled, and an audit: \(grouped(audit.bytesCompared)) bytes of text in "
        + "\(counted(audit.modules.count, "module")) compared with their files; "
        + "\(counted(audit.bytesDiffering, "byte")) differ\(verdict) (its debug hook, which tells us "
        + "of loads and unloads)" + (foreign == 0 ? ", nothing else." : "."))
    report.expect(
      "restored: each byte is the file's, but for our own jump", foreign == 0 && isCompared)
    report.data["bytesAudited"] = JSONValue(audit.bytesCompared)
    report.data["bytesDiffering"] = JSONValue(audit.bytesDiffering)
  }

  private func flip(
    _ patched: PatchedModule, _ stub: EntryStub, _ method: PatchProtocol, _ library: Library
  ) throws -> FlipRun {
    let calls = try workload(library)
    let sites = patched.sites(servedBy: method)
    guard let workers = nul_workers_start(calls, calls.count, 4) else {
      throw FileError(path: "a thread", errorNumber: errno)
    }
    var run = FlipRun(sites: sites.count)
    let entries = nul_entries()
    let end = monotonicNanoseconds() + 1_200_000_000
    let options = PatchOptions(method: method)
    var failure: (any Error)?
    do {
      while monotonicNanoseconds() < end {
        for state in [SiteState.nop, .call(stub), .nop, .original] {
          run.flips += UInt64(try patched.set(sites, to: state, options: options).sites)
        }
      }
    } catch { failure = error }
    nul_workers_stop(workers, &run.calls, &run.wrong)
    run.entries = nul_entries() - entries
    if let failure { throw failure }
    return run
  }

  private func workload(_ library: Library) throws -> [nul_call] {
    let known: [(String, argument: Int32, result: Int32)] = [
      ("specimen_square", 12, 144), ("specimen_negate", 7, -7), ("specimen_parity", 9, 1),
      ("specimen_triangle", 100, 5050), ("specimen_digits", 123_456, 6),
      ("specimen_fibonacci", 10, 55),
    ]
    return try known.map { name, argument, result in
      nul_call(
        function: unsafeBitCast(
          try library.symbol(name), to: (@convention(c) (Int32) -> Int32).self),
        argument: argument, result: result)
    }
  }
}
