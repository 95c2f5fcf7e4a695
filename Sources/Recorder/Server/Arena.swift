// SPDX-License-Identifier: Apache-2.0

import CRecorder
import CRecordingABI
import Glibc
import Units

/// The memory that the traced processes put their events and messages into; a thread writes the
/// events to files.
final class Arena {
  /// A process's place in it, and its event file.
  final class Place {
    fileprivate let events: Descriptor
    /// Of the place, and of the image that has it.
    let number: Int, image: UInt32

    fileprivate init(events: consuming Descriptor, number: Int, image: UInt32) {
      self.events = events
      self.number = number
      self.image = image
    }
  }

  /// A forked child that has taken a place.
  struct Claim {
    let place: Int
    let image: UInt32
    /// The image that it is a copy of.
    let copied: UInt32
    /// The id of its thread in its own PID namespace; 0: it does not know.
    let thread: Int32
    let time: ClockUnits
  }

  /// What an agent says.
  enum Event {
    case claim(Claim)
    /// Nil: bytes that are no message.
    case messages(place: Int, [AgentMessage?])
  }

  private let arena: OpaquePointer
  private let clock: TraceClock

  init(clock: TraceClock) throws {
    guard let arena = nrc_arena_make() else {
      throw ServerError(
        description: "cannot make shared memory for events: \(systemError(errnoNow()))")
    }
    self.arena = arena
    self.clock = clock
  }

  deinit { nrc_arena_free(arena) }

  /// What agents map; -1: files may not be so long, and no process can join.
  var file: Int32 { nrc_arena_file(arena) }
  /// Readable while there may be an event.
  var wakes: Int32 { nrc_arena_events(arena) }

  /// Whether a process has an arena among its mappings, see proc_pid_maps(5). True where it may not
  /// be looked at.
  static func isMapped(by process: pid_t) -> Bool {
    let file = Descriptor(open("/proc/\(process)/maps", O_RDONLY | O_CLOEXEC))
    guard file.number >= 0 else { return errno == EACCES || errno == EPERM }
    let name = Array("/memfd:\(NREC_ARENA_NAME)".utf8)
    var kept: [UInt8] = []  // a line may be cut between two reads
    var offset = 0
    while let more = file.readSome(at: offset, atMost: 1 << 16) {
      offset += more.count
      kept += more
      let isThere = kept.withUnsafeBytes { text in
        nrc_contains(text.baseAddress, text.count, name, name.count)
      }
      if isThere { return true }
      kept.removeFirst(max(0, kept.count - name.count))
    }
    return false
  }

  /// A place for a fresh image; throws where there is none, or no space for its file's first page.
  func join(
    _ process: TracedProcess, _ events: consuming Descriptor
  ) throws(RecordingFolderError) -> Place {
    var about = describe(process, events.number)
    var image: UInt32 = 0
    let number = nrc_arena_join(arena, &about, &image)
    if number < 0 {
      let error = errnoNow()
      let operation =
        error == EAGAIN
        ? "no place for more than \(NREC_ARENA_PROCESSES) processes at a time" : "cannot write"
      throw .system(path: process.image.events, operation: operation, errno: error)
    }
    return Place(events: events, number: Int(number), image: image)
  }

  /// The place that a forked child has claimed. 0, or an errno: its events are counted as lost.
  func adopt(
    _ process: TracedProcess, _ claim: Claim, _ events: consuming Descriptor
  ) -> (Place, error: Int32) {
    var about = describe(process, events.number)
    let error = nrc_arena_adopt(arena, Int32(claim.place), &about) == 0 ? 0 : errnoNow()
    return (Place(events: events, number: claim.place, image: claim.image), error)
  }

  private func describe(_ process: TracedProcess, _ events: Int32) -> nrc_arena_image {
    nrc_arena_image(
      events: events, process: process.process, parent: process.parent,
      incarnation: process.incarnation,
      start_realtime_nanoseconds: clock.realtimeNanoseconds(at: process.startTime))
  }

  /// Writes what a process that has ended had recorded and not handed over; 0, or an errno.
  func leave(_ place: Place) -> Int32 {
    nrc_arena_leave(arena, Int32(place.number), Double(clock.ticksPerSecond())) == 0
      ? 0 : errnoNow()
  }

  /// Sends a plan and its entries; false: there is no memory for it.
  func answer(
    _ plan: nrec_plan_message, _ entries: [nrec_plan_entry], _ fetches: [nrec_fetch],
    to place: Place
  ) -> Bool {
    let entries = entries.withUnsafeBytes { Array($0) } + fetches.withUnsafeBytes { Array($0) }
    return withUnsafeBytes(of: plan) { plan in
      nrc_arena_answer(
        arena, Int32(place.number), plan.baseAddress, entries, entries.count)
    }
  }

  /// Lets its thread end, while the recorder does something else. Agents record nothing more.
  func close() { nrc_arena_close(arena) }

  /// Whether anything is recorded now.
  var gate: RecordingGate.State { RecordingGate.State(rawValue: nrc_arena_gate(arena)) ?? .open }

  /// Nothing happens where the gate is not in the state `from`.
  func setGate(_ from: RecordingGate.State, to state: RecordingGate.State) {
    _ = nrc_arena_set_gate(arena, from.rawValue, state.rawValue)
  }

  /// Which rules for threads the name of a thread has matched: bit i is rule i.
  var threadRulesMet: UInt32 { nrc_arena_thread_rules_met(arena) }

  /// To be called before there is an agent, where each thread has a ring.
  func expectRings() { nrc_arena_expect_rings(arena) }
  /// No ring loses a chunk now: one is copied, or an agent asks for that.
  var isHeld: Bool { nrc_arena_is_held(arena) }
  func hold() { nrc_arena_hold(arena) }
  /// False: rings are still held. `givesUp`: a request that was begun and not made does not count.
  func release(givesUp: Bool) -> Bool { nrc_arena_release(arena, givesUp) }
  /// Agents ask for no other snapshot.
  func takeNoSnapshots() { nrc_arena_take_none(arena) }

  /// How many requests found no place.
  var missedRequests: UInt32 { nrc_arena_missed_requests(arena) }

  /// The next request for a snapshot; nil: there is none.
  func nextRequest() -> nrc_request? {
    var request = nrc_request()
    return nrc_arena_next_request(arena, &request) ? request : nil
  }

  /// Copies the rings of a process, which are held, to a new file: how many events they have.
  func copyRings(
    of place: Place, to file: Int32, _ name: String
  ) throws(RecordingFolderError) -> UInt64 {
    var copied = nrc_copied()
    let error = nrc_arena_copy_rings(
      arena, Int32(place.number), file, Double(clock.ticksPerSecond()), &copied)
    if error != 0 { throw .system(path: name, operation: "cannot write", errno: error) }
    return copied.events
  }

  /// Of a process, until now.
  func lostEvents(of place: Place) -> UInt64 { nrc_arena_lost_events(arena, Int32(place.number)) }

  /// Collects what was said until now.
  func look() { nrc_arena_look(arena) }

  /// The next event; nil: there is none.
  func next() -> Event? {
    guard let event = nrc_arena_next(arena) else { return nil }
    defer { nrc_arena_done(event) }
    let raw = event.pointee
    if raw.is_claim {
      return .claim(
        Claim(
          place: Int(raw.place), image: raw.image, copied: raw.copied, thread: raw.thread,
          time: ClockUnits(raw.time)))
    }
    let bytes = UnsafeRawBufferPointer(start: raw.bytes, count: raw.size)
    return .messages(place: Int(raw.place), Self.messages(bytes))
  }

  /// The messages of one chunk; nil: bytes that are none.
  static func messages(_ bytes: UnsafeRawBufferPointer) -> [AgentMessage?] {
    let header = MemoryLayout<nrec_mail>.size
    var found: [AgentMessage?] = []
    var at = 0
    while at + header <= bytes.count {
      let length = Int(bytes.loadUnaligned(fromByteOffset: at, as: UInt32.self))
      guard length <= bytes.count - at - header else { return found + [nil] }
      let message = bytes[(at + header)..<(at + header + length)]
      found.append(AgentMessage(UnsafeRawBufferPointer(rebasing: message)))
      at += (header + length + 7) & ~7
    }
    return found
  }
}
