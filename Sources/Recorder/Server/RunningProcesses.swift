// SPDX-License-Identifier: Apache-2.0

import CRecorder
import Glibc

/// The processes that are traced, each until it ends or another image replaces it, and those that may
/// be about to connect.
final class RunningProcesses {
  /// A process that is waited for.
  private final class Watched {
    let pid: Int32
    /// Nil: it was started with the agent and has not connected yet.
    let traced: TracedProcess?
    /// Readable at its end.
    let descriptor: Descriptor
    /// Of its end, and of the next look at it, in the event loop.
    var end, look: EventLoop.Registration?
    /// Whether it may still be on the way to a HELLO.
    var progress: StartProgress?

    init(_ pid: Int32, _ traced: TracedProcess?, _ descriptor: consuming Descriptor) {
      self.pid = pid
      self.traced = traced
      self.descriptor = descriptor
    }
  }

  /// Called for an image that has ended, or was replaced by an exec.
  var whenEnded: (TracedProcess) -> Void = { _ in }
  private let loop: EventLoop
  private let unconnected: UnconnectedChildren
  private var watched: [Int32: Watched] = [:]
  /// Process ids that have joined.
  private var introduced: Set<Int32> = []
  /// Children that were waited for and have not joined: they are not waited for a second time.
  private var waitedFor: Set<Int32> = []

  /// Between two looks at a process that records on.
  private static let recordingNanoseconds: UInt64 = 500_000_000

  init(loop: EventLoop, socketPath: String) {
    self.loop = loop
    unconnected = UnconnectedChildren(socketPath: socketPath)
  }

  /// Makes what the first process needs, before an agent waits for the answer.
  func prepare() {
    introduced.reserveCapacity(RecordServer.usualCount)
    watched.reserveCapacity(RecordServer.usualCount)
  }

  /// How many are waited for.
  var count: Int { watched.count }

  /// Those that are traced and alive.
  var tracedCount: Int {
    watched.values.count { $0.traced != nil && ProcessStatus($0.pid)?.state != UInt8(ascii: "Z") }
  }

  /// Whether a traced image of this process id has not ended.
  func isTraced(_ pid: Int32) -> Bool { watched[pid]?.traced != nil }

  /// An image has joined. The one before it, of the same process id, has ended by an exec.
  func begin(_ process: TracedProcess) {
    if let before = watched[process.process] { finish(before) }
    introduced.insert(process.process)
    watch(process.process, process)
  }

  /// To be called once the program has ended: from now on a process that has become another program,
  /// which has no agent, counts as ended.
  func beginToEnd() {
    for one in watched.values where one.look == nil { look(at: one) }
  }

  /// Waits for processes that the program or its children started and that have not joined yet.
  func waitForUnconnectedChildren(of program: pid_t) {
    for pid in unconnected.find(since: program)
    where !introduced.contains(pid) && waitedFor.insert(pid).inserted {
      watch(pid, nil)
    }
  }

  /// Waits no longer for one that runs on.
  func leave(_ process: TracedProcess) {
    if let one = watched[process.process], one.traced === process { finish(one) }
  }

  /// Waits for none any more.
  func finishAll() {
    for one in watched.values { finish(one) }
  }

  private func watch(_ pid: Int32, _ traced: TracedProcess?) {
    let descriptor = Descriptor(nrc_process_descriptor(pid))
    guard descriptor.number >= 0 else {
      if let traced { whenEnded(traced) }
      return
    }
    let one = Watched(pid, traced, descriptor)
    one.end = loop.add(one.descriptor.number) { [weak self] in self?.finish(one) }
    watched[pid] = one
    if traced == nil { look(at: one) }
  }

  private func look(at one: Watched) {
    let mayJoin =
      one.traced == nil ? unconnected.mayHaveAgent(one.pid) : !Arena.isMapped(by: one.pid)
    if one.traced != nil, !mayJoin {
      one.progress = nil
      return lookLater(at: one, Self.recordingNanoseconds)
    }
    var progress = one.progress ?? StartProgress(of: one.pid)
    guard mayJoin, progress.mayBeStarting() else { return finish(one) }
    one.progress = progress
    lookLater(at: one, StartProgress.lookNanoseconds)
  }

  private func lookLater(at one: Watched, _ nanoseconds: UInt64) {
    one.look = loop.after(nanoseconds: nanoseconds) { [weak self] in self?.look(at: one) }
  }

  private func finish(_ one: Watched) {
    loop.remove(one.end)
    loop.remove(one.look)
    if watched[one.pid] === one { watched[one.pid] = nil }
    if let traced = one.traced { whenEnded(traced) }
  }
}
