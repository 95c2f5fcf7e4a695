// SPDX-License-Identifier: Apache-2.0

import CUnloadLab
import CallSites
import Glibc
import LivePatching

extension Stage {
  /// 2.6.28: sites from the build, converted before the first call, fail-stop.
  func staticEngine() throws -> SceneReport {
    var report = SceneReport(
      name: "static", title: "2.6.28: sites from the build, no hash, no cmpxchg, fail-stop")
    let engine = try StaticEngine(decoder: decoder)
    engine.adopt(specimens.table)
    McountMode.clearCounts()
    McountMode.current = .count
    defer { McountMode.current = .off }
    let library = try engine.load(specimens.path)
    defer { library.close() }
    let constructed = try library.symbol("specimen_constructed").load(as: Int.self)
    let calls = McountMode.callCount
    let module = try specimenModule()
    let sites = specimens.table.sites
    let nops = sites.count { site in
      readBytes(at: module.loadBias + site.offset, count: 5) == Code.nop(length: 5).bytes
    }
    report.say(
      "  recordmcount wrote \(sites.count) sites into libSpecimen.so, bound to its build-id.")
    report.say(
      "  dlopen: \(nops) of \(sites.count) were nops before the first function ran; the constructor"
    )
    report.say("  made \(constructed) calls, \(calls) of them through mcount.")
    let armed = try engine.startTracer(nul_count_entry_address())
    let entries = nul_entries()
    try plainFunction("specimen_at_pr0", in: library)()
    let counted = nul_entries() - entries
    let disarmed = try engine.stopTracer()
    report.say(
      "  A tracer armed \(armed) sites, counted \(counted) call, and made them nops again.")
    report.expect(
      "every site was a nop before the module's first function ran", nops == sites.count)
    report.expect("the constructor ran and called mcount never", constructed > 0 && calls == 0)
    report.expect(
      "the tracer saw the call and let go of every site",
      counted == 1 && armed == sites.count && disarmed == armed)
    try failStop(engine, module, &report)
    report.data["sites"] = JSONValue(sites.count)
    report.data["constructorCalls"] = JSONValue(constructed)
    return report
  }

  /// One wrong byte, put there on purpose: the report, and the end of tracing.
  private func failStop(
    _ engine: StaticEngine, _ module: LoadedModule, _ report: inout SceneReport
  ) throws {
    let ip = try address(of: "specimen_at_freg0")
    let text = module.text
    let before = readBytes(at: text.lowerBound, count: text.count)
    try writeByte(0xcc, at: ip, in: text)
    let wrong = readBytes(at: text.lowerBound, count: text.count)
    var bug: FtraceBug?
    do { try engine.startTracer(nul_count_entry_address()) } catch let found as FtraceBug {
      bug = found
    }
    var isOff = false
    do { try engine.startTracer(nul_count_entry_address()) } catch is FtraceBug { isOff = true }
    let after = readBytes(at: text.lowerBound, count: text.count)
    report.say("  Now somebody puts a wrong byte (cc) on one site, and a tracer starts:")
    report.say()
    for line in (bug?.description ?? "no report").split(separator: "\n") {
      report.say("    {code}\(line.prefix(74)){/}")
    }
    report.expect("the wrong byte gave the report", bug?.kind == .mismatch)
    report.expect("the tracer is off for good", isOff)
    report.expect("not one byte was written, the wrong one included", wrong == after)
    report.data["report"] = .string(bug?.description ?? "")
    try writeByte(before[Int(ip - text.lowerBound)], at: ip, in: text)
  }

  /// As a debugger would: behind everybody's back.
  private func writeByte(_ byte: UInt8, at address: UInt64, in text: Range<UInt64>) throws {
    guard nul_open_text(address, address + 1) == 0,
      let pointer = UnsafeMutablePointer<UInt8>(bitPattern: UInt(address))
    else { throw FileError(path: "the specimen's text", errorNumber: errno) }
    pointer.pointee = byte
    let page = UnsafeMutableRawPointer(bitPattern: UInt(address & ~4095))
    mprotect(page, 4096, PROT_READ | PROT_EXEC)
  }

  /// Today: sites flipped under running threads, by each protocol.
  func live() throws -> SceneReport {
    var report = SceneReport(
      name: "live", title: "today: sites flipped under four running threads")
    try LoaderHook.install(decoder: decoder)
    let library = try Library(path: specimens.path)
    defer { library.close() }
    let module = try specimenModule()
    let patched = try PatchedModule(module: module, table: specimens.table, decoder: decoder)
    let stub = try EntryStubPage(near: module.span, destinations: [nul_count_entry_address()])
    McountMode.current = .off
    report.say(
      "  \(specimens.table.sites.count) sites, original -> nop -> armed -> nop, as fast as it "
        + "goes; each result checked.")
    var runs: [JSONValue] = []
    for method in [PatchProtocol.stopMachine, .jumpGuard, .breakpoint] {
      let run = try flip(patched, stub.stubs[0], method, library)
      report.say(
        "  \("\(method)".padded(to: 13))\(grouped(run.flips).leftPadded(to: 9)) flips under "
          + "\(grouped(run.calls).leftPadded(to: 12)) calls, "
          + (run.wrong == 0 ? "{good}0 wrong{/}" : "{bad}\(run.wrong) wrong{/}")
          + ", \(grouped(run.entries)) seen armed")
      report.expect(
        "\(method): sites flipped under running threads, no result wrong",
        run.wrong == 0 && run.flips > 0 && run.calls > 0 && run.entries > 0)
      runs.append(
        .object([
          "protocol": .string("\(method)"), "flips": JSONValue(run.flips),
          "calls": JSONValue(run.calls), "wrong": JSONValue(run.wrong),
          "entries": JSONValue(run.entries),
        ]))
    }
    try patched.set(to: .original)
    let known = LoaderHook.change.map { [$0] } ?? []
    let audit = try auditText(of: getpid(), known: known)
    let foreign = audit.unknownDifferences.count
    report.say(
      "  restored; audit: \(audit.modules.count) modules, \(grouped(audit.bytesCompared)) bytes of "
        + "text against their files,")
    report.say(
      "  \(audit.bytesDiffering) bytes differ: "
        + (foreign == 0
          ? "{good}our own jump in the loader, nothing else{/}" : "{bad}\(foreign) unknown{/}"))
    report.expect(
      "the audit finds no byte that is not as its file has it, but our jump", foreign == 0)
    report.data = ["protocols": .array(runs), "bytesAudited": JSONValue(audit.bytesCompared)]
    return report
  }

  private struct FlipRun {
    var flips, calls, wrong, entries: UInt64
  }

  private func flip(
    _ patched: PatchedModule, _ stub: EntryStub, _ method: PatchProtocol, _ library: Library
  ) throws -> FlipRun {
    let calls: [nul_call] = try [
      ("specimen_square", 12, 144), ("specimen_negate", 7, -7), ("specimen_parity", 9, 1),
      ("specimen_triangle", 100, 5050), ("specimen_digits", 123_456, 6),
      ("specimen_fibonacci", 10, 55),
    ].map { name, argument, result in
      nul_call(
        function: unsafeBitCast(
          try library.symbol(name), to: (@convention(c) (Int32) -> Int32).self),
        argument: argument, result: result)
    }
    guard let workers = nul_workers_start(calls, calls.count, 4) else {
      throw FileError(path: "a thread", errorNumber: errno)
    }
    var run = FlipRun(flips: 0, calls: 0, wrong: 0, entries: nul_entries())
    let end = monotonicNanoseconds() + 1_200_000_000
    let sites = patched.sites(servedBy: method)
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
    run.entries = nul_entries() - run.entries
    if let failure { throw failure }
    return run
  }
}
