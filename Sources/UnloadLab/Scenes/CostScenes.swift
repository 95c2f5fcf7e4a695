// SPDX-License-Identifier: Apache-2.0

import CUnloadLab
import LivePatching
import TextFormat

typealias PlainFunction = @convention(c) () -> Void

extension Stage {
  /// What a call costs plain, through mcount, and with the call made a nop.
  func cost() throws -> SceneReport {
    var report = SceneReport(name: "cost", title: "why it patches: what a traced function costs")
    report.say(
      "The kernel's tracer uses the compiler's option -pg, which puts a call of mcount into every "
        + "function: there the tracer sees each call. With no tracer it is pure cost, unless a nop "
        + "stands in its place.")
    report.skip()
    let times = try callTimes()
    let rows = [
      (times.plain, "not instrumented: an empty function"),
      (times.nop, "-pg, the call made a nop: 5 bytes"),
      (times.mcount, "-pg, calls mcount, which returns at once"),
      (times.record, "-pg, mcount finds its caller in a hash"),
    ]
    report.show("{head}ns a call{/}")
    for (time, what) in rows { report.show("\(fixed(time, 2).leftPadded(to: 9))  \(what)") }
    report.expect("a call of mcount costs more than the nop in its place", times.mcount > times.nop)
    report.data = [
      "plainNanoseconds": JSONValue(times.plain), "nopNanoseconds": JSONValue(times.nop),
      "mcountNanoseconds": JSONValue(times.mcount), "recordNanoseconds": JSONValue(times.record),
    ]
    return report
  }

  /// The stable kernel's answer: dynamic patching off, every call goes through mcount for ever.
  func disabled() throws -> SceneReport {
    var report = SceneReport(
      name: "disabled", title: "the first fix, 2.6.27.1: patch nothing")
    let times = try callTimes()
    let library = try Library(path: specimens.path)
    defer { library.close() }
    McountMode.clearCounts()
    McountMode.current = .count
    let calls: UInt64 = 100_000
    let function = try plainFunction("specimen_at_hsfsts", in: library)
    _ = nul_time_calls(function, calls)
    McountMode.current = .off
    let counted = McountMode.callCount
    let price = fixed(times.mcount, 2)
    let saved = fixed(times.nop, 2)
    report.say(
      "DYNAMIC_FTRACE was marked BROKEN: what is never patched is never patched wrongly. Of "
        + "\(grouped(calls)) calls of a -pg function \(grouped(counted)) went through mcount. The "
        + "price, with mcount returning at once: {bad}\(price) ns{/} a call, not \(saved) ns, "
        + "\(fixed(times.mcount / times.nop, 1)) times as much, for every call of every function, "
        + "for ever.")
    report.expect("every call went through mcount", counted == calls)
    report.data = [
      "calls": JSONValue(calls), "mcountCalls": JSONValue(counted),
      "mcountNanoseconds": JSONValue(times.mcount), "nopNanoseconds": JSONValue(times.nop),
    ]
    return report
  }

  private struct CallTimes {
    var plain, nop, mcount, record: Double
  }

  private func callTimes() throws -> CallTimes {
    let library = try Library(path: specimens.path)
    defer { library.close() }
    let function = try plainFunction("specimen_at_hsfsts", in: library)
    McountMode.current = .off
    defer { McountMode.current = .off }
    let mcount = nanosecondsPerCall(function)
    let engine = DaemonEngine(version: .shipped, intervalMicroseconds: 600_000_000)
    try engine.attach()
    defer { engine.detach() }
    try register(engine)
    let record = nanosecondsPerCall(function)
    try engine.waitForCycle(now: true)
    let nop = nanosecondsPerCall(function)
    return CallTimes(
      plain: nanosecondsPerCall(nul_plain_function), nop: nop, mcount: mcount, record: record)
  }

  func plainFunction(_ name: String, in library: Library) throws -> PlainFunction {
    unsafeBitCast(try library.symbol(name), to: PlainFunction.self)
  }
}
