// SPDX-License-Identifier: Apache-2.0

import RecordingReader

/// Perfetto's protobuf trace.
///
/// Source of the field numbers: protos/perfetto/trace/*.proto of github.com/google/perfetto. A
/// trace is packets. Each thread is a packet sequence of its own, so that its events can leave out
/// what the sequence says once: the track, by `trace_packet_defaults`; names, by `interned_data`;
/// and most of the time, by a clock of the sequence that counts on from the packet before. An event
/// is 12 to 15 bytes.
struct PerfettoWriter: SliceWriter {
  private let output: OutputBuffer
  private let file: OutputFile
  /// Of the recording's start, for the trace's clock.
  private let startNanoseconds: UInt64
  private let startRealtimeNanoseconds: UInt64
  private var names: PerfettoNames
  private var sequence: UInt64 = 0
  private var processes: [Int32: UInt64] = [:]
  /// Nanoseconds since the recording's start, of the newest packet of the sequence.
  private var lastTime: UInt64 = 0
  private var depth = 0
  /// Tracks below the thread's own, for its deepest calls.
  private var deepTracks = 0
  /// Perfetto keeps so many slices open on a track; beyond, it ends the wrong ones.
  private static let mostDepth = 512

  private enum Packet {
    static let clockSnapshot: UInt32 = 6
    static let timestamp: UInt32 = 8
    static let sequence: UInt32 = 10
    static let trackEvent: UInt32 = 11
    static let internedData: UInt32 = 12
    static let sequenceFlags: UInt32 = 13
    static let clockID: UInt32 = 58
    static let defaults: UInt32 = 59
    static let trackDescriptor: UInt32 = 60
  }

  private enum Event {
    static let categories: UInt32 = 3
    static let annotations: UInt32 = 4
    static let type: UInt32 = 9
    static let name: UInt32 = 10
    static let trackUUID: UInt32 = 11
    static let sourceLocation: UInt32 = 34
    static let begin: UInt64 = 1
    static let end: UInt64 = 2
    static let instant: UInt64 = 3
  }

  private enum Clock {
    static let realtime: UInt64 = 1
    static let boottime: UInt64 = 6
    /// Of the sequence: numbers from 64 are.
    static let incremental: UInt64 = 64
  }

  init(_ file: OutputFile, _ recording: Recording) {
    self.file = file
    output = file.buffer
    let first = recording.processes.first { $0.startTime == recording.startTime }
    startNanoseconds = ExportClock(origin: .zero, scale: first?.scale ?? 1)
      .nanoseconds(recording.startTime)
    startRealtimeNanoseconds = first?.startRealtimeNanoseconds ?? 0
    names = PerfettoNames()
  }

  func check() throws { try file.check() }

  // MARK: - What a sequence begins with

  mutating func begin(_ thread: ExportedThread) {
    sequence += 1
    depth = 0
    deepTracks = 0
    names.beginSequence()
    let process = processTrack(thread)
    beginSequence { descriptor in
      descriptor.add(5, process)
      descriptor.add(4) { described in
        described.add(1, UInt64(UInt32(bitPattern: thread.process.pid)))
        described.add(2, UInt64(UInt32(bitPattern: thread.thread.id)))
        described.add(5, thread.threadName)
      }
    }
  }

  /// The track of what has this sequence's number. Tracks are numbered: processes below 2^32, others above.
  private var track: UInt64 { 1 << 32 | sequence }

  /// The clocks, what events of this sequence leave out, and its track, which `describe` says more of.
  private mutating func beginSequence(_ describe: (inout ProtobufMessage) -> Void) {
    lastTime = 0
    writeClocks()
    let track = track
    packet { packet in
      packet.add(Packet.sequenceFlags, 1)
      packet.add(Packet.defaults) { defaults in
        defaults.add(Packet.clockID, Clock.incremental)
        defaults.add(11) { $0.add(Event.trackUUID, track) }
      }
      packet.add(Packet.trackDescriptor) { descriptor in
        descriptor.add(1, track)
        describe(&descriptor)
      }
    }
  }

  private mutating func processTrack(_ thread: ExportedThread) -> UInt64 {
    let pid = thread.process.pid
    if let known = processes[pid] { return known }
    let track = UInt64(processes.count + 1)
    processes[pid] = track
    packet { packet in
      packet.add(Packet.trackDescriptor) { descriptor in
        descriptor.add(1, track)
        descriptor.add(3) { described in
          described.add(1, UInt64(UInt32(bitPattern: pid)))
          described.add(6, thread.processName)
        }
      }
    }
    return track
  }

  /// The same moment on all clocks: the recording's start.
  private func writeClocks() {
    let clocks = [
      (Clock.boottime, startNanoseconds, false), (Clock.realtime, startRealtimeNanoseconds, false),
      (Clock.incremental, 0, true),
    ]
    packet { packet in
      packet.add(Packet.clockSnapshot) { snapshot in
        for (clock, time, isIncremental) in clocks where clock != Clock.realtime || time > 0 {
          snapshot.add(1) { entry in
            entry.add(1, clock)
            entry.add(2, time)
            if isIncremental { entry.add(3, 1) }
          }
        }
      }
    }
  }

  private func packet(_ fill: (inout ProtobufMessage) -> Void) {
    var trace = ProtobufMessage()
    trace.add(1) { packet in
      packet.add(Packet.sequence, sequence)
      fill(&packet)
    }
    output.add(trace.bytes)
  }

  /// The track for calls of the present depth; nil: the thread's own.
  private mutating func deepTrack() -> UInt64? {
    let level = depth / Self.mostDepth
    if level == 0 { return nil }
    while deepTracks < level {
      deepTracks += 1
      let track = deepTrack(deepTracks)
      let name = "deeper than \(deepTracks * Self.mostDepth)"
      packet { packet in
        packet.add(Packet.trackDescriptor) { descriptor in
          descriptor.add(1, track)
          descriptor.add(2, name)
          descriptor.add(5, self.track)
        }
      }
    }
    return deepTrack(level)
  }

  private func deepTrack(_ level: Int) -> UInt64 { UInt64(level + 1) << 40 | track }

  // MARK: - Events

  mutating func open(
    _ function: ExportedFunction, _ functions: borrowing ExportedFunctions, at time: UInt64,
    _ details: SliceDetails
  ) {
    begin(Event.begin, function, functions, at: time, details)
    depth += 1
  }

  mutating func instant(
    _ function: ExportedFunction, _ functions: borrowing ExportedFunctions, at time: UInt64,
    _ details: SliceDetails
  ) {
    begin(Event.instant, function, functions, at: time, details)
  }

  private mutating func begin(
    _ type: UInt64, _ function: ExportedFunction, _ functions: borrowing ExportedFunctions,
    at time: UInt64, _ details: SliceDetails
  ) {
    let delta = time - lastTime
    lastTime = time
    let (name, new) = names.name(function.index, functions)
    let track = depth < Self.mostDepth ? nil : deepTrack()
    if new == nil && details.isEmpty && track == nil {
      quick(delta, type, name)
      return
    }
    packet { packet in
      packet.add(Packet.timestamp, delta)
      if let new { packet.add(Packet.internedData, new) }
      packet.add(Packet.trackEvent) { event in
        event.add(Event.type, type)
        event.add(Event.name, UInt64(name.name))
        if let track { event.add(Event.trackUUID, track) }
        if name.category > 0 { event.add(Event.categories, UInt64(name.category)) }
        if name.hasSource { event.add(Event.sourceLocation, UInt64(name.name)) }
        if let note = details.note { Self.annotate(&event, "note", note.rawValue) }
        if !details.arguments.isEmpty { Self.annotate(&event, details.arguments) }
      }
    }
  }

  mutating func close(_ function: ExportedFunction, at time: UInt64, _ details: SliceDetails) {
    let delta = time - lastTime
    lastTime = time
    depth -= 1
    let track = depth < Self.mostDepth ? nil : deepTrack()
    if details.isEmpty && track == nil {
      quick(delta, Event.end, nil)
      return
    }
    packet { packet in
      packet.add(Packet.timestamp, delta)
      packet.add(Packet.trackEvent) { event in
        event.add(Event.type, Event.end)
        if let track { event.add(Event.trackUUID, track) }
        if let note = details.note { Self.annotate(&event, "end", note.rawValue) }
        if let result = details.result {
          event.add(Event.annotations) { Self.fill(&$0, "return", result) }
        }
      }
    }
  }

  /// A packet whose length, and its event's, fit one byte: at most 2 + 11 + 6 + 2 + 2 + 6 + 6 + 7.
  @inline(__always)
  private func quick(_ delta: UInt64, _ type: UInt64, _ name: PerfettoNames.Interned?) {
    output.add(upTo: 64) { bytes in
      bytes[0] = 1 << 3 | 2
      bytes[2] = UInt8(Packet.timestamp << 3)
      var at = putVarint(delta, bytes, at: 3)
      bytes[at] = UInt8(Packet.sequence << 3)
      at = putVarint(sequence, bytes, at: at + 1)
      bytes[at] = UInt8(Packet.trackEvent << 3 | 2)
      let event = at + 1
      bytes[event + 1] = UInt8(Event.type << 3)
      bytes[event + 2] = UInt8(truncatingIfNeeded: type)
      at = event + 3
      if let name {
        bytes[at] = UInt8(Event.name << 3)
        at = putVarint(UInt64(name.name), bytes, at: at + 1)
        if name.category > 0 {
          bytes[at] = UInt8(Event.categories << 3)
          at = putVarint(UInt64(name.category), bytes, at: at + 1)
        }
        if name.hasSource {
          at = putVarint(UInt64(Event.sourceLocation << 3), bytes, at: at)
          at = putVarint(UInt64(name.name), bytes, at: at)
        }
      }
      bytes[event] = UInt8(at - event - 1)
      bytes[1] = UInt8(at - 2)
      return at
    }
  }

  mutating func lost(_ events: UInt64, at time: UInt64) {
    let delta = time - lastTime
    lastTime = time
    packet { packet in
      packet.add(Packet.timestamp, delta)
      packet.add(Packet.trackEvent) { event in
        event.add(Event.type, Event.instant)
        event.add(23, "[events lost]")
        Self.annotate(&event, "events", events == 0 ? "not known" : "\(events)")
      }
    }
  }

  /// A thread's times off the CPU are a sequence of their own: their track is below the thread's.
  mutating func end(_ thread: ExportedThread, at time: UInt64) {
    let threadTrack = track
    var isBegun = false
    thread.forEachAbsence(until: time) { absence in
      if !isBegun {
        isBegun = true
        sequence += 1
        beginSequence { descriptor in
          descriptor.add(2, "off the CPU")
          descriptor.add(5, threadTrack)
        }
        tellAbsences()
      }
      quick(
        absence.from - lastTime, Event.begin, absence.isRunnable ? Absence.runnable : Absence.waits)
      quick(absence.to - absence.from, Event.end, nil)
      lastTime = absence.to
    }
  }

  private enum Absence {
    static let waits = PerfettoNames.Interned(name: 1, category: 0)
    static let runnable = PerfettoNames.Interned(name: 2, category: 0)
  }

  /// The names of the slices of this sequence.
  private func tellAbsences() {
    packet { packet in
      packet.add(Packet.internedData) { data in
        for (number, text) in [(Absence.waits, "waits"), (Absence.runnable, "could run")] {
          data.add(2) { name in
            name.add(1, UInt64(number.name))
            name.add(2, text)
          }
        }
      }
    }
  }

  /// As a dictionary, `arguments`.
  private static func annotate(_ event: inout ProtobufMessage, _ arguments: [CallArgument]) {
    event.add(Event.annotations) { annotation in
      annotation.add(10, "arguments")
      for (name, value) in keyed(arguments) {
        annotation.add(11) { fill(&$0, name, value) }
      }
    }
  }

  private static func fill(_ annotation: inout ProtobufMessage, _ name: String, _ value: CallValue)
  {
    annotation.add(10, name)
    switch value {
    case .boolean(let truth): annotation.add(2, truth ? 1 : 0)
    case .unsigned(let number): annotation.add(3, number)
    case .integer(let number): annotation.add(4, UInt64(bitPattern: number))
    case .real(let number): annotation.add(5, double: number)
    case .single(let number): annotation.add(5, double: Double(number))
    case .pointer(let address): annotation.add(7, address)
    case .text(let bytes, isCut: false):
      annotation.add(6, String(decoding: bytes, as: UTF8.self))
    default: annotation.add(6, value.text)
    }
  }

  private static func annotate(_ event: inout ProtobufMessage, _ name: String, _ value: String) {
    event.add(Event.annotations) { annotation in
      annotation.add(10, name)
      annotation.add(6, value)
    }
  }
}
