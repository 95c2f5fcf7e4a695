// SPDX-License-Identifier: Apache-2.0

import CUnloadLab
import LivePatching

typealias PlainFunction = @convention(c) () -> Void

extension Stage {
  /// What a call costs plain, through mcount, and with the call made a nop.
  func cost() throws -> SceneReport {
    var report = SceneReport(name: "cost", title: "why dynamic ftrace: a call of mcount, or a nop")
    let times = try callTimes()
    let rows: [(String, Double, String)] = [
      ("not instrumented", times.plain, "the same function without -pg"),
      ("-pg, site made a nop", times.nop, "5 bytes of one instruction"),
      ("-pg, calls mcount", times.mcount, "mcount returns at once"),
      ("-pg, mcount records", times.record, "and looks its caller up in the hash"),
    ]
    for (what, time, remark) in rows {
      report.say(
        "  \(what.padded(to: 24))\(decimal(time, digits: 2).leftPadded(to: 7)) ns a call   "
          + "{dim}\(remark){/}")
    }
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
      name: "disabled", title: "2.6.27.1: dynamic ftrace marked BROKEN, patching off")
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
    let ratio = times.count / times.nop
    report.say(
      "  \(grouped(calls)) calls, \(grouped(counted)) of them through mcount: nothing is ever "
        + "patched,")
    report.say(
      "  so nothing can be patched wrongly. The price: {bad}\(decimal(times.count, digits: 2)) ns"
        + "{/} a call instead of \(decimal(times.nop, digits: 2)) ns, \(decimal(ratio)) times as much."
    )
    report.expect("every call went through mcount", counted == calls)
    report.data = [
      "calls": JSONValue(calls), "mcountCalls": JSONValue(counted),
      "countNanoseconds": JSONValue(times.count), "nopNanoseconds": JSONValue(times.nop),
    ]
    return report
  }

  private struct CallTimes {
    var plain, nop, mcount, count, record: Double
  }

  private func callTimes() throws -> CallTimes {
    let library = try Library(path: specimens.path)
    defer { library.close() }
    let function = try plainFunction("specimen_at_hsfsts", in: library)
    McountMode.current = .off
    defer { McountMode.current = .off }
    let mcount = nanosecondsPerCall(function)
    McountMode.current = .count
    let count = nanosecondsPerCall(function)
    let engine = DaemonEngine(version: .shipped, intervalMicroseconds: 600_000_000)
    try engine.attach()
    defer { engine.detach() }
    try register(engine)
    let record = nanosecondsPerCall(function)
    try engine.waitForCycle(now: true)
    let nop = nanosecondsPerCall(function)
    return CallTimes(
      plain: nanosecondsPerCall(nul_plain_function), nop: nop, mcount: mcount, count: count,
      record: record)
  }

  func plainFunction(_ name: String, in library: Library) throws -> PlainFunction {
    unsafeBitCast(try library.symbol(name), to: PlainFunction.self)
  }
}
