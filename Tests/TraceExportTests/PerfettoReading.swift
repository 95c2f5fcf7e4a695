// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A protobuf message, read by the wire format (protobuf.dev/programming-guides/encoding).
struct ProtobufFields {
  enum Value {
    case number(UInt64)
    case bytes(ArraySlice<UInt8>)
  }
  struct Malformed: Error {}

  private(set) var fields: [(number: Int, value: Value)] = []

  init(_ bytes: ArraySlice<UInt8>) throws {
    var rest = bytes
    while !rest.isEmpty {
      let key = try Self.varint(&rest)
      switch key & 7 {
      case 0: fields.append((Int(key >> 3), .number(try Self.varint(&rest))))
      case 1:
        guard rest.count >= 8 else { throw Malformed() }
        let word = rest.prefix(8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        fields.append((Int(key >> 3), .number(word)))
        rest = rest.dropFirst(8)
      case 2:
        let length = Int(try Self.varint(&rest))
        guard length <= rest.count else { throw Malformed() }
        fields.append((Int(key >> 3), .bytes(rest.prefix(length))))
        rest = rest.dropFirst(length)
      default: throw Malformed()
      }
    }
  }

  private static func varint(_ bytes: inout ArraySlice<UInt8>) throws -> UInt64 {
    var value: UInt64 = 0
    for shift in stride(from: 0, to: 64, by: 7) {
      guard let byte = bytes.popFirst() else { throw Malformed() }
      value |= UInt64(byte & 0x7f) << UInt64(shift)
      if byte < 0x80 { return value }
    }
    throw Malformed()
  }

  func number(_ field: Int) -> UInt64? {
    for case (field, .number(let value)) in fields { return value }
    return nil
  }

  func messages(_ field: Int) throws -> [ProtobufFields] {
    var found: [ProtobufFields] = []
    for case (field, .bytes(let bytes)) in fields { found.append(try ProtobufFields(bytes)) }
    return found
  }

  func message(_ field: Int) throws -> ProtobufFields? { try messages(field).first }

  func text(_ field: Int) -> String? {
    for case (field, .bytes(let bytes)) in fields { return String(decoding: bytes, as: UTF8.self) }
    return nil
  }
}

/// A Perfetto trace, read from its packets as the trace processor reads them.
struct PerfettoTrace {
  struct Thread {
    var pid, tid: Int
    var name: String
  }
  private struct Sequence {
    var names: [UInt64: String] = [:]
    var categories: [UInt64: String] = [:]
    var track: UInt64 = 0
    var defaultClock: UInt64 = 6
    /// The newest time of clock 64, and the offset from it to the trace's clock.
    var incremental: UInt64?
    var offset: UInt64 = 0
  }

  private(set) var threads: [UInt64: Thread] = [:]
  private(set) var processNames: [Int: String] = [:]
  private(set) var categories: [String: Set<String>] = [:]
  private(set) var instants: [(name: String, notes: [String])] = []
  private(set) var realtime: Set<UInt64> = []
  private var trackNames: [UInt64: String] = [:]
  /// Of named tracks: the track that they are below.
  private(set) var trackParents: [String: UInt64] = [:]
  /// Slices that are on other tracks than a thread's own, by the track's name.
  private(set) var deepSlices: [String: Int] = [:]
  private var sequences: [UInt64: Sequence] = [:]
  private(set) var pairing = SlicePairing()
  /// Annotations of that name, and the entries of those.
  private(set) var returned: [ProtobufFields] = []
  private(set) var arguments: [[ProtobufFields]] = []

  init(path: String) throws {
    let bytes = Array(try Data(contentsOf: URL(fileURLWithPath: path)))
    for packet in try ProtobufFields(bytes[...]).messages(1) { try read(packet) }
  }

  private mutating func read(_ packet: ProtobufFields) throws {
    let id = packet.number(10) ?? 0
    var sequence = sequences[id] ?? Sequence()
    if packet.number(13) == 1 { sequence.names = [:] }
    if let snapshot = try packet.message(6) { try read(snapshot, &sequence) }
    if let defaults = try packet.message(59) {
      sequence.defaultClock = defaults.number(58) ?? 6
      sequence.track = try defaults.message(11)?.number(11) ?? 0
    }
    if let data = try packet.message(12) {
      for name in try data.messages(2) { sequence.names[name.number(1) ?? 0] = name.text(2) }
      for name in try data.messages(1) { sequence.categories[name.number(1) ?? 0] = name.text(2) }
    }
    if let track = try packet.message(60) { try read(track: track) }
    if let event = try packet.message(11) {
      try read(event, at: time(packet.number(8) ?? 0, &sequence), sequence)
    }
    sequences[id] = sequence
  }

  private func time(_ stamp: UInt64, _ sequence: inout Sequence) -> UInt64 {
    guard sequence.defaultClock == 64, let last = sequence.incremental else { return stamp }
    sequence.incremental = last + stamp
    return last + stamp + sequence.offset
  }

  private mutating func read(_ snapshot: ProtobufFields, _ sequence: inout Sequence) throws {
    var boottime: UInt64 = 0
    for clock in try snapshot.messages(1) {
      switch clock.number(1) {
      case 6: boottime = clock.number(2) ?? 0
      case 1: realtime.insert(clock.number(2) ?? 0)
      case 64 where clock.number(3) == 1: sequence.incremental = clock.number(2)
      default: throw ProtobufFields.Malformed()
      }
    }
    sequence.offset = boottime
  }

  private mutating func read(track: ProtobufFields) throws {
    if let process = try track.message(3) {
      processNames[Int(process.number(1) ?? 0)] = process.text(6)
    }
    if let name = track.text(2) {
      trackNames[track.number(1) ?? 0] = name
      trackParents[name] = track.number(5)
      if threads[track.number(5) ?? 0] == nil { throw ProtobufFields.Malformed() }
    }
    if let thread = try track.message(4) {
      threads[track.number(1) ?? 0] = Thread(
        pid: Int(thread.number(1) ?? 0), tid: Int(thread.number(2) ?? 0),
        name: thread.text(5) ?? "")
    }
  }

  private mutating func read(
    _ event: ProtobufFields, at time: UInt64, _ sequence: Sequence
  ) throws {
    for annotation in try event.messages(4) {
      if annotation.text(10) == "return" { returned.append(annotation) }
      if annotation.text(10) == "arguments" { arguments.append(try annotation.messages(11)) }
    }
    let notes = try event.messages(4).compactMap { $0.text(6) }
    let name = event.number(10).flatMap { sequence.names[$0] } ?? event.text(23) ?? "?"
    let track = event.number(11) ?? sequence.track
    let thread = threads[track]?.tid ?? Int(track)
    if let name = trackNames[track] { deepSlices[name, default: 0] += event.number(9) == 1 ? 1 : 0 }
    switch event.number(9) {
    case 1:
      if let category = event.number(3).flatMap({ sequence.categories[$0] }) {
        categories[name, default: []].insert(category)
      }
      pairing.begin(name, thread: thread, at: time, note: notes.first)
    case 2: pairing.end(thread: thread, at: time, note: notes.first)
    case 3:
      instants.append((name, notes))
      if !name.hasPrefix("[") { pairing.instant(name, thread: thread, at: time) }
    default: throw ProtobufFields.Malformed()
    }
  }
}
