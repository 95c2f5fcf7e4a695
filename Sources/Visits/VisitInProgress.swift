// SPDX-License-Identifier: Apache-2.0

import CPatchCore
import CVisit
import Glibc

/// What came of a visit.
public struct VisitOutcome: Sendable {
  /// What the agent's function wrote, `result` of its arguments.
  public var result: [UInt8]
  /// How long one thread was stopped to begin the visit.
  public var stoppedNanoseconds: UInt64
  /// How often, and how long altogether, all threads were stopped by the visitor's wish.
  public var stops: Int
  /// See `stops`.
  public var allStoppedNanoseconds: UInt64
  /// From the first look at the process until the agent's function had returned.
  public var totalNanoseconds: UInt64
  /// How often the only thread was looked at until it stood where it may be interrupted.
  public var looks: Int
}

/// A visitor is in the process. Whoever has begun it looks at it again and again, a thousand times a
/// second or more often, and from one thread: that also makes the stops that the visitor asks for.
public final class VisitInProgress {
  /// Where the visitor is.
  public let process: pid_t
  private let memory: ProcessMemory
  private let call: VisitCall
  private let begun: Visit.Begun
  private let began: UInt64
  private var connection: Int32
  private var outcome: VisitOutcome
  private var world: OpaquePointer?
  private var worldBegan: UInt64 = 0

  private static let stopMilliseconds: UInt32 = 1000

  init(
    _ process: pid_t, _ call: VisitCall, _ begun: Visit.Begun, began: UInt64,
    stoppedNanoseconds: UInt64, looks: Int
  ) throws(VisitError) {
    self.process = process
    self.call = call
    self.begun = begun
    self.began = began
    connection = begun.connection
    outcome = VisitOutcome(
      result: [], stoppedNanoseconds: stoppedNanoseconds, stops: 0, allStoppedNanoseconds: 0,
      totalNanoseconds: 0, looks: looks)
    memory = try ProcessMemory(process)
  }

  deinit {
    if let world { nvi_world_release(world) }
    if connection >= 0 { close(connection) }
  }

  /// Our end of the connection, which is the caller's then; -1: there is none.
  public func takeConnection() -> Int32 {
    defer { connection = -1 }
    return connection
  }

  /// Does what the visitor asks for. Nil: its function has not returned yet. Throws what went wrong.
  public func look() throws(VisitError) -> VisitOutcome? {
    _ = nvi_leave_late()
    answer()
    guard let bytes = memory.read(begun.block, MemoryLayout<nvi_block>.size) else {
      throw .noSuchProcess(process)
    }
    let block = bytes.withUnsafeBytes { $0.loadUnaligned(as: nvi_block.self) }
    if block.state == UInt32(NVI_NO_THREAD) {
      throw .callFailed(process, call: "pthread_create", errno: block.created)
    }
    if block.state == UInt32(NVI_WAITS) {
      if now() - began > UInt64(call.seconds) * 1_000_000_000 {
        throw .isLate(process, seconds: call.seconds)
      }
      return nil
    }
    let text = memory.text(block.error_text).map { String(decoding: $0, as: UTF8.self) }
    outcome.result = memory.read(begun.result, HelperLayout.resultBytes) ?? []
    outcome.totalNanoseconds = now() - began
    _ = memory.write(
      [1, 0, 0, 0], begun.block + UInt64(nvi_offset_of_seen()))
    switch block.state {
    case UInt32(NVI_DONE) where block.result == 0: return outcome
    case UInt32(NVI_DONE): throw .agentRefused(process, errno: block.result)
    default: throw .noAgent(process, because: text ?? "the loader does not say why")
    }
  }

  /// Looks until it has ended.
  public func wait() throws(VisitError) -> VisitOutcome {
    while true {
      if let outcome = try look() { return outcome }
      usleep(100)
    }
  }

  // MARK: - Stops

  /// npc_outside, as far as its threads.
  private func field(_ path: PartialKeyPath<npc_outside>) -> UInt64 {
    begun.table + UInt64(MemoryLayout<npc_outside>.offset(of: path) ?? 0)
  }

  /// Odd: the visitor wants all others stopped. Even: it has finished with them.
  private func answer() {
    guard let asked = memory.number(UInt32.self, field(\.asked)),
      let answered = memory.number(UInt32.self, field(\.answered)), asked != answered
    else { return }
    if asked % 2 == 1 { stopWorld() } else { releaseWorld() }
    write(asked, field(\.answered))
  }

  private func write<T>(_ value: T, _ address: UInt64) {
    _ = memory.write(withUnsafeBytes(of: value, Array.init), address)
  }

  private func stopWorld() {
    releaseWorld()
    worldBegan = now()
    var blamed: pid_t = 0
    let asking = memory.number(Int32.self, field(\.asking)) ?? 0
    var error = nvi_world_stop(process, asking, Self.stopMilliseconds, &world, &blamed)
    if error == 0, let world {
      let count = Int(nvi_world_count(world))
      if count > Int(NPC_OUTSIDE_THREADS) {
        releaseWorld()
        error = EAGAIN
      } else {
        writeThreads(world, count)
      }
    }
    write(error, field(\.error))
    write(blamed, field(\.thread))
    outcome.stops += 1
  }

  /// Those that have ended are not in the table.
  private func writeThreads(_ world: OpaquePointer, _ count: Int) {
    var threads: [npc_outside_thread] = []
    indices = []
    for index in 0..<count {
      var place = nvi_place()
      guard nvi_world_thread(world, UInt32(index), &place) else { continue }
      threads.append(
        npc_outside_thread(
          thread: place.thread, is_asleep: 0, system_call: place.system_call, pc: place.pc,
          sp: place.sp, thread_pointer: place.thread_pointer))
      indices.append(UInt32(index))
    }
    _ = memory.write(threads.withUnsafeBytes(Array.init), begun.table + threadsOffset)
    write(UInt32(threads.count), field(\.count))
    written = threads
  }

  private var indices: [UInt32] = []
  private var written: [npc_outside_thread] = []
  private var threadsOffset: UInt64 { UInt64(npc_outside_threads_offset()) }

  private func releaseWorld() {
    guard let world else { return }
    let size = MemoryLayout<npc_outside_thread>.stride
    if let bytes = memory.read(begun.table + threadsOffset, written.count * size) {
      bytes.withUnsafeBytes { bytes in
        for (index, old) in written.enumerated() {
          let new = bytes.loadUnaligned(fromByteOffset: index * size, as: npc_outside_thread.self)
          if new.pc != old.pc { nvi_world_move(world, indices[index], new.pc) }
        }
      }
    }
    nvi_world_release(world)
    self.world = nil
    written = []
    outcome.allStoppedNanoseconds += now() - worldBegan
  }
}
