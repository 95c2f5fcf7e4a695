// SPDX-License-Identifier: Apache-2.0

import CUnloadLab
import Glibc
import LivePatching
import TextFormat
import Units

extension Stage {
  /// The life of a call site in 2.6.27: first call, hash, daemon, nop.
  func record() throws -> SceneReport {
    var report = SceneReport(
      name: "record", title: "why a hash: sites are found as they run")
    let interval: UInt64 = 50_000
    let engine = DaemonEngine(version: .shipped, intervalMicroseconds: interval)
    try engine.attach()
    defer { engine.detach() }
    let library = try Library(path: specimens.path)
    defer { library.close() }
    try register(engine)
    let name = "specimen_at_pr0"
    let ip = try address(of: name)
    let function = try plainFunction(name, in: library)
    let before = readBytes(at: ip, count: 5)
    function()
    let record = engine.record(at: ip)
    report.say(
      "The kernel's design of 2008, rebuilt; code and addresses are this process's. \(name)(), a "
        + "function built with -pg, has its call of mcount, its call site, at \(ip):")
    report.skip()
    report.show("before        \(listing(before, at: ip))")
    report.list(["first call": found(record, engine)], width: 14)
    try convert(engine, interval, &report)
    let after = readBytes(at: ip, count: 5)
    McountMode.clearCounts()
    _ = nul_time_calls(function, 1000)
    let calls = McountMode.callCount
    report.show("after         \(listing(after, at: ip))")
    report.list(
      ["1,000 more": "calls of the function make \(counted(calls, "call")) of mcount"], width: 14)
    report.expect("the site was a call of five bytes", before.first == 0xe8)
    report.expect("the first call put it into the hash", record != nil)
    report.expect("the daemon made it one nop", after == Code.nop(length: 5).bytes)
    report.expect("nothing calls mcount from there any more", calls == 0)
    report.data = [
      "before": .string(hexDigits(before, separator: " ")),
      "after": .string(hexDigits(after, separator: " ")),
      "bucket": JSONValue(record?.bucket ?? 0), "mcountCallsAfter": JSONValue(calls),
    ]
    return report
  }

  private func found(_ record: SiteRecord?, _ engine: DaemonEngine) -> String {
    let (statistics, bucket) = (engine.statistics, record?.bucket ?? 0)
    let free = statistics.freeRecords + statistics.unusedRecords
    return
      "mcount takes its return address - 5 and puts it into a hash: bucket \(bucket) of 1,024, "
      + "\(counted(statistics.records, "record")), \(grouped(free)) free"
  }

  /// Waits until the daemon runs by its own timer.
  private func convert(_ engine: DaemonEngine, _ interval: UInt64, _ report: inout SceneReport)
    throws
  {
    let began = monotonicNanoseconds()
    try engine.waitForCycle()
    let waited = (monotonicNanoseconds() - began) / 1_000_000
    report.list(
      [
        "\(waited) ms later": "the daemon wakes (each \(interval / 1000) ms here, each second in "
          + "2008), stops every other thread and writes a nop"
      ], width: 14)
  }

  /// Why stop_machine: bytes written under a running thread, in child processes.
  func smp() throws -> SceneReport {
    var report = SceneReport(
      name: "smp", title: "why it stops the machine: patching code that runs")
    let library = try Library(path: specimens.path)
    defer { library.close() }
    let function = try plainFunction("specimen_at_hsfsts", in: library)
    let ip = try address(of: "specimen_at_hsfsts")
    let unstopped = try children(6, function, ip, NUL_SMP_UNSTOPPED)
    let stopped = try children(2, function, ip, NUL_SMP_STOPPED)
    report.say(
      "The first design patched while other processors ran the code. In child processes, 300 ms "
        + "each: one thread calls a function, another flips the call in it to a nop and back, by a "
        + "`lock cmpxchg` of 4 bytes and a store of the fifth.")
    report.skip()
    report.list(
      [
        "unstopped": tally(unstopped, "{bad}"), "stop-machine": tally(stopped, "{good}"),
      ], width: 14)
    let died = unstopped.count { $0.signal != 0 && !$0.timed_out }
    let survived = stopped.count { $0.signal == 0 && !$0.timed_out && $0.result == 0 }
    report.expect("patched under a running thread, children die", died > 0)
    report.expect("patched with the thread stopped, all survive", survived == stopped.count)
    report.data = [
      "unstopped": .array(unstopped.map(json)), "stopped": .array(stopped.map(json)),
    ]
    return report
  }

  private func children(
    _ count: Int, _ function: PlainFunction, _ ip: CodeAddress, _ mode: some BinaryInteger
  ) throws -> [nul_smp_result] {
    try (0..<count).map { _ in
      var result = nul_smp_result()
      guard nul_smp_experiment(function, ip.rawValue, Int32(mode), 300, &result) else {
        throw FileError(path: "a child process", errorNumber: result.error)
      }
      return result
    }
  }

  private func tally(_ results: [nul_smp_result], _ mark: String) -> String {
    let died = results.filter { $0.signal != 0 }
    let signals = Dictionary(grouping: died, by: \.signal).sorted { $0.key < $1.key }
      .map { "\(signalName($0.key)) \($0.value.count)" }.joined(separator: ", ")
    let flips = results.reduce(0) { $0 + $1.flips } / UInt64(max(results.count, 1))
    let calls = results.reduce(0) { $0 + $1.calls } / UInt64(max(results.count, 1))
    let fate =
      died.isEmpty
      ? "\(mark)all \(results.count) survived{/}"
      : "\(mark)\(died.count) of \(results.count) died{/} (\(signals))"
    return "\(fate); mean: \(counted(flips, "flip")), \(counted(calls, "call"))"
  }

  private func signalName(_ number: Int32) -> String {
    [
      SIGSEGV: "SIGSEGV", SIGILL: "SIGILL", SIGBUS: "SIGBUS", SIGTRAP: "SIGTRAP",
      SIGKILL: "SIGKILL",
    ][
      number] ?? "signal \(number)"
  }

  private func json(_ result: nul_smp_result) -> JSONValue {
    .object([
      "flips": JSONValue(result.flips), "calls": JSONValue(result.calls),
      "signal": JSONValue(result.signal), "nanoseconds": JSONValue(result.nanoseconds),
    ])
  }

  /// The last line of defence: it holds on other bytes, fails on equal ones, and writes anyway.
  func cmpxchg() throws -> SceneReport {
    var report = SceneReport(
      name: "cmpxchg", title: "why it harms: a failed cmpxchg still writes")
    let engine = DaemonEngine(version: .shipped, intervalMicroseconds: 600_000_000)
    try engine.attach()  // registers the fault fix-up of the cmpxchg
    defer { engine.detach() }
    let expected: [UInt8] = [0xe8, 0x1b, 0xfd, 0xff, 0xff]
    let other = try compareAndSwap(over: [0x5a, 0x5a, 0x5a, 0x5a, 0x5a], expecting: expected)
    let same = try compareAndSwap(over: expected, expecting: expected)
    say(expected, other: other, same: same, in: &report)
    report.expect("on other bytes the value stays", other.after == other.before)
    report.expect("on other bytes the access is a write nevertheless", other.errorCode & 2 != 0)
    report.expect("equal bytes are overwritten", same.after == Code.nop(length: 5).bytes)
    report.data = ["otherBytes": json(other), "sameBytes": json(same)]
    return report
  }

  private func say(
    _ expected: [UInt8], other: Swap, same: Swap, in report: inout SceneReport
  ) {
    report.say(
      "The engine compares the code with what it expects in the same instruction that writes, "
        + "`lock cmpxchg`. Here the page is made read-only for the moment: the CPU faults, and so "
        + "says what it is about to do.")
    report.skip()
    report.show("expected       {code}\(hexDigits(expected, separator: " ")){/}")
    for (what, swap) in [("other bytes", other), ("equal bytes", same)] {
      let verdict = swap.after == swap.before ? "{good}unchanged{/}" : "{bad}overwritten{/}"
      report.show(
        "\(what.padded(to: 13))  {code}\(hexDigits(swap.before, separator: " ")){/}"
          + " -> {code}\(hexDigits(swap.after, separator: " ")){/}",
        "               page fault, error code \(swap.errorCode): "
          + (swap.errorCode & 2 != 0 ? "{bad}a write{/}" : "a read"),
        "               value \(verdict)")
    }
    report.skip()
    report.say(
      "A comparison that fails writes the old value back. That changes no memory, but it may change "
        + "a device. Bytes that are equal by luck are overwritten.")
  }

  private struct Swap {
    var before, after: [UInt8]
    var errorCode: UInt64
  }

  private func json(_ swap: Swap) -> JSONValue {
    .object([
      "before": .string(hexDigits(swap.before, separator: " ")),
      "after": .string(hexDigits(swap.after, separator: " ")),
      "errorCode": JSONValue(swap.errorCode),
    ])
  }

  /// The engine's patch primitive on a read-only page that holds `bytes`.
  private func compareAndSwap(over bytes: [UInt8], expecting: [UInt8]) throws -> Swap {
    let kind = MAP_PRIVATE | MAP_ANONYMOUS
    guard let page = mmap(nil, 4096, PROT_READ | PROT_WRITE, kind, -1, 0), page != MAP_FAILED else {
      throw FileError(path: "a page of memory", errorNumber: errno)
    }
    defer { munmap(page, 4096) }
    let at = page + 4
    memcpy(at, bytes, bytes.count)
    let watch = try WatchedMemory(
      UnsafeMutableRawBufferPointer(start: page, count: 4096), unwatched: .reads)
    var found: UInt32 = 0
    let ip = at.assumingMemoryBound(to: UInt8.self)
    _ = nul_patch_code(ip, expecting, Code.nop(length: 5).bytes, &found)
    let accesses = watch.accesses
    watch.close()
    return Swap(
      before: bytes, after: [UInt8](UnsafeRawBufferPointer(start: at, count: 5)),
      errorCode: accesses.first?.errorCode ?? 0)
  }
}
