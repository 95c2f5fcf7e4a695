// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

@testable import Recorder

/// What a process must do to be waited for until it connects.
@Suite struct UnconnectedChildrenTests {
  private let unconnected = UnconnectedChildren(socketPath: "/a/socket")

  private enum Job {
    case sleeps, computes
  }

  /// Runs `body` with the id of a process that sleeps or computes, once it does.
  private func with(
    _ job: Job, _ environment: [String: String] = [:], _ body: (pid_t) throws -> Void
  ) throws {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: job == .sleeps ? "/bin/sleep" : "/bin/sh")
    process.arguments = job == .sleeps ? ["600"] : ["-c", "while :; do :; done"]
    process.environment = environment
    try process.run()
    defer {
      kill(process.processIdentifier, SIGKILL)
      process.waitUntilExit()
    }
    let id = process.processIdentifier
    while true {
      let name = try String(contentsOfFile: "/proc/\(id)/comm", encoding: .utf8)
      let isThere = name == (job == .sleeps ? "sleep\n" : "sh\n")  // the exec is done
      if isThere, ProcessStatus(id)?.isBusy == (job == .computes) { break }
      usleep(1000)
    }
    try body(id)
  }

  @Test("a process that sleeps is given up after so many looks, a stopped one too")
  func asleep() throws {
    try with(.sleeps) { id in
      var progress = StartProgress(of: id)
      #expect((0..<20).filter { _ in progress.mayBeStarting() }.count == 19)
      kill(id, SIGSTOP)
      while ProcessStatus(id)?.state != UInt8(ascii: "T") { usleep(1000) }
      progress = StartProgress(of: id)
      #expect((0..<20).filter { _ in progress.mayBeStarting() }.count == 19)
    }
  }

  @Test("a process that wants the CPU is waited for until it has had a second of it")
  func busy() throws {
    try with(.computes) { id in
      let before = try #require(ProcessStatus(id)?.cpuTicks)
      var progress = StartProgress(of: id)
      // So fast that its CPU time does not grow: what counts is that it wants the CPU.
      #expect((0..<100).filter { _ in progress.mayBeStarting() }.count == 100)
      var looks = 100
      while progress.mayBeStarting() {
        looks += 1
        usleep(50_000)
      }
      let after = try #require(ProcessStatus(id)?.cpuTicks)
      #expect(after - before >= UInt64(sysconf(Int32(_SC_CLK_TCK))) || looks >= 1199)
    }
  }

  @Test("a process that has ended or cannot be seen is not waited for long")
  func gone() {
    var progress = StartProgress(of: pid_t.max)
    #expect((0..<20).filter { _ in progress.mayBeStarting() }.count == 19)
    #expect(!unconnected.mayHaveAgent(pid_t.max))
  }

  @Test("ours is who has the variable, and who is busy and has no environment yet")
  func environment() throws {
    let ours = ["NOPSCOPE_AGENT": "/a/socket"]
    try with(.sleeps, ours) {
      #expect(unconnected.mayHaveAgent($0))
    }
    try with(.sleeps, ["NOPSCOPE_AGENT": "/a/socket2"]) {
      #expect(!unconnected.mayHaveAgent($0))
    }
    // Between the old memory and the new stack of an exec there is none.
    try with(.computes) { id in
      #expect(unconnected.mayHaveAgent(id))
      let start = try #require(ProcessStatus(id)?.startTicks)
      #expect(unconnected.mayHaveAgent(id, startedSince: start))
      #expect(!unconnected.mayHaveAgent(id, startedSince: start + 1))
    }
    try with(.sleeps) {
      #expect(!unconnected.mayHaveAgent($0))
    }
    #expect(ProcessStatus(2)?.isKernelThread != false, "kthreadd, where it can be seen")
    #expect(!unconnected.mayHaveAgent(2))
  }
}
