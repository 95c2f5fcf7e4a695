// SPDX-License-Identifier: Apache-2.0

import CUnloadLab
import CallSites
import Glibc
import LivePatching
import TextFormat
import Units

extension Stage {
  /// 2.6.28: sites from the build, converted before the first call, fail-stop.
  func staticEngine() throws -> SceneReport {
    var report = SceneReport(
      name: "static", title: "the fix, 2.6.28: sites from the build")
    let engine = try StaticEngine(decoder: decoder)
    try engine.adopt(specimens.table)
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
      "No hash and no daemon: recordmcount has listed the \(counted(sites.count, "call site")) in "
        + "the file (a copy of libSpecimen.so), bound to its build-id. When dlopen returned, "
        + "\(nops) of \(sites.count) were nops; the module's constructor had run, and of its "
        + "\(counted(constructed, "call")) \(calls) went through mcount. No compare-and-swap: look, "
        + "compare, then write.")
    report.expect(
      "every site was a nop before the module's first function ran", nops == sites.count)
    report.expect("the constructor ran and called mcount never", constructed > 0 && calls == 0)
    try trace(engine, library, sites.count, &report)
    try failStop(engine, module, &report)
    report.data["sites"] = JSONValue(sites.count)
    report.data["constructorCalls"] = JSONValue(constructed)
    return report
  }

  private func trace(
    _ engine: StaticEngine, _ library: Library, _ sites: Int, _ report: inout SceneReport
  ) throws {
    let armed = try engine.startTracer(nul_count_entry_address())
    let entries = nul_entries()
    try plainFunction("specimen_at_pr0", in: library)()
    let seen = nul_entries() - entries
    let disarmed = try engine.stopTracer()
    report.say(
      "A tracer armed \(counted(armed, "site")), saw the \(counted(seen, "call")) made, "
        + "and made \(grouped(disarmed)) nops again.")
    report.expect(
      "the tracer saw the call and disarmed every site",
      seen == 1 && armed == sites && disarmed == armed)
  }

  /// One wrong byte, put there on purpose: the report, and the end of tracing.
  private func failStop(
    _ engine: StaticEngine, _ module: LoadedModule, _ report: inout SceneReport
  ) throws {
    let ip = try address(of: "specimen_at_freg0")
    let text = module.text
    let before = readBytes(at: text.lowerBound, count: Int(text.byteCount))
    try writeByte(0xcc, at: ip, in: text)
    let wrong = readBytes(at: text.lowerBound, count: Int(text.byteCount))
    var bug: FtraceBug?
    do { try engine.startTracer(nul_count_entry_address()) } catch let found as FtraceBug {
      bug = found
    }
    var isOff = false
    do { try engine.startTracer(nul_count_entry_address()) } catch is FtraceBug { isOff = true }
    let after = readBytes(at: text.lowerBound, count: Int(text.byteCount))
    report.say("Now a wrong byte (cc) is put on one site, and a tracer starts:")
    report.skip()
    for line in (bug?.description ?? "no report").split(separator: "\n") {
      report.show("{code}\(line.prefix(SceneText.narrowest - 2)){/}")
    }
    report.expect("the wrong byte gave the report", bug?.kind == .mismatch)
    report.expect("the tracer is off for good", isOff)
    report.expect("not one byte was written, the wrong one included", wrong == after)
    report.data["report"] = .string(bug?.description ?? "")
    try writeByte(before[Int(ip - text.lowerBound)], at: ip, in: text)
  }

  /// As a debugger would: behind everybody's back.
  private func writeByte(_ byte: UInt8, at address: CodeAddress, in text: Range<CodeAddress>) throws
  {
    guard nul_open_text(address.rawValue, address.rawValue + 1) == 0,
      let pointer = address.pointer
    else { throw FileError(path: "the specimen's text", errorNumber: errno) }
    pointer.storeBytes(of: byte, as: UInt8.self)
    mprotect(address.rounded(downTo: 4096).pointer, 4096, PROT_READ | PROT_EXEC)
  }
}
