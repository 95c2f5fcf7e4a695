// SPDX-License-Identifier: Apache-2.0

import CRecorder
import Glibc
import RecordingSchema
import Units

/// A snapshot: the rings of all threads as they were then, as a recording of its own.
public struct Snapshot: Sendable {
  /// Why it was taken.
  public enum Cause: Sendable {
    /// A call that took longer than the limit.
    case call(function: String, nanoseconds: UInt64, thread: Int32, threadName: String)
    /// A signal that nopscope got.
    case signal
  }

  /// From 1.
  public var number: Int
  /// Its directory; nil where it could not be written.
  public var path: String?
  /// What asked for it.
  public var cause: Cause
  /// Entries and exits that it holds.
  public var events: UInt64 = 0
  /// Of all threads, while it was copied.
  public var lostEvents: UInt64 = 0
  /// No other is taken.
  public var isLast: Bool
}

/// Takes snapshots: for agents, which ask by the arena, and for a signal.
///
/// The programs run on. What their threads record while the rings are copied goes where there is
/// room; else it is counted as lost, because the oldest chunk of a ring is not used again until then.
final class Snapshots {
  private unowned let server: RecordServer
  private var taken = 0
  private var isTaking = false
  private var hasReleasePlanned = false
  /// Of each image, by its number: events that were lost when it was looked at last.
  private var lost: [UInt32: UInt64] = [:]
  /// In all, while rings were held.
  private(set) var lostEvents: UInt64 = 0

  /// How long a request may take its agent, before it is taken for one whose process was killed.
  private static let stuckNanoseconds: UInt64 = 1_000_000_000

  init(server: RecordServer) {
    self.server = server
    if server.options.overwriteBytes != nil { server.arena.expectRings() }
  }

  private var isOver: Bool { taken >= server.options.snapshots.most }

  /// Takes what agents have asked for. To be called when something may have come.
  func look() {
    if isTaking || !server.arena.isHeld { return }
    while let request = server.arena.nextRequest() {
      if !isOver { take(cause(of: request)) }
    }
    release(givesUp: false)
  }

  /// A signal asks for one.
  func takeForSignal() {
    if isTaking || isOver { return }
    server.arena.hold()
    take(.signal)
    release(givesUp: false)
    look()
  }

  private func release(givesUp: Bool) {
    let isReleased = server.arena.release(givesUp: givesUp)
    lostEvents += newlyLost()
    if isReleased || hasReleasePlanned { return }
    hasReleasePlanned = true
    server.loop.after(nanoseconds: Self.stuckNanoseconds) { [weak self] in
      guard let self else { return }
      hasReleasePlanned = false
      look()
      if server.arena.isHeld { release(givesUp: true) }
    }
  }

  private func cause(of request: nrc_request) -> Snapshot.Cause {
    let process = server.process(at: Int(request.place))
    var name = request.thread_name
    let threadName = withUnsafeBytes(of: &name) { bytes in
      String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
    return .call(
      function: process.flatMap { server.functionName(request.function, of: $0) } ?? "?",
      nanoseconds: server.clock.nanoseconds(ClockUnits(request.spent)), thread: request.thread,
      threadName: threadName)
  }

  private func take(_ cause: Snapshot.Cause) {
    isTaking = true
    defer { isTaking = false }
    taken += 1
    if isOver { server.arena.takeNoSnapshots() }
    var snapshot = Snapshot(number: taken, path: nil, cause: cause, isLast: isOver)
    do {
      snapshot.events = try write(snapshot)
      snapshot.path = "\(server.recordingPath)/snapshot-\(taken)"
    } catch {
      server.warn("\(server.recordingPath): \(error): the snapshot is left out")
    }
    snapshot.lostEvents = newlyLost()
    lostEvents += snapshot.lostEvents
    server.whenSnapshot?(snapshot)
  }

  /// Returns how many events it holds.
  private func write(_ snapshot: Snapshot) throws -> UInt64 {
    let folder = try server.writer.folder.makeSnapshot(snapshot.number)
    do {
      let events = try fill(folder)
      try folder.finish()
      return events
    } catch {
      folder.discard()
      throw error
    }
  }

  private func fill(_ folder: SnapshotFolder) throws -> UInt64 {
    var events: UInt64 = 0
    var lines: [UInt8] = []
    for process in server.livingProcesses {
      guard let place = process.place else { continue }
      let file = Descriptor(try folder.create(process.image.events))
      events += try server.arena.copyRings(of: place, to: file.number, process.image.events)
      lines += try RecordingJSON.encode(ProcessLine.joined(process.session)) + [0x0a]
    }
    try folder.linkSymbols()
    for process in server.livingProcesses { try folder.copy(process.image.modules) }
    try folder.write(lines, to: RecordingFormat.processesName)
    try folder.write(server.writer.closedSession(), to: RecordingFormat.sessionName)
    return events
  }

  /// At the end: says how many slow calls took no snapshot, because too many came together.
  func warnOfMissed() {
    let missed = server.arena.missedRequests
    if missed == 0 || isOver { return }
    server.warn("--snapshot-on: \(missed) slow calls took no snapshot: others were being taken")
  }

  private func newlyLost() -> UInt64 {
    var sum: UInt64 = 0
    var now: [UInt32: UInt64] = [:]
    for process in server.livingProcesses {
      guard let place = process.place else { continue }
      let count = server.arena.lostEvents(of: place)
      sum += count &- min(count, lost[place.image] ?? 0)
      now[place.image] = count
    }
    lost = now
    return sum
  }
}
