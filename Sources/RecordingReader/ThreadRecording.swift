// SPDX-License-Identifier: Apache-2.0

import TextFormat
public import Units

/// Where a thread's chunks are.
struct ThreadSource: Sendable {
  var file: SharedFile
  var fileName: String
  var name: String
  /// Written by the tracer `function`: short entries stand for pairs of function and caller.
  var isPaired = false
  /// Of the kind EVENTS, in sequence order.
  var chunks: [ChunkPlace] = []

  func describe(_ chunk: ChunkPlace?) -> String {
    guard let chunk else { return fileName }
    return "chunk at \(hexAddress(chunk.offset)) of \(fileName)"
  }
}

/// One thread of a process.
public struct ThreadRecording: Sendable {
  /// Kernel thread id; a process may see the same again, with another serial.
  public let id: Int32
  /// Of the process; unique in it.
  public let serial: UInt32
  /// /proc/self/task/TID/comm, the newest known; not safe for a terminal as it is.
  public let name: String
  /// When its first chunk began; nil if it has no events.
  public var startTime: ClockUnits? { source.chunks.first?.baseTime }
  /// When its last chunk began; nil if it has no events.
  public var lastChunkTime: ClockUnits? { source.chunks.last?.baseTime }
  /// Of events: a measure of the work, for showing progress.
  public var chunkCount: Int { source.chunks.count }
  /// Events the agent could not record, as the newest chunk's header counts them.
  ///
  /// `lost` events after that come on top.
  public let lostEvents: UInt64
  /// Chunks missing between the first and the last that are there.
  public let missingChunks: Int
  /// The first chunks are missing: a flight recorder has overwritten them.
  public let isStartMissing: Bool

  let switches: SwitchTimes
  let source: ThreadSource
  let treeChunks: [ChunkPlace]
  let profileChunks: [ChunkPlace]
  let hitsChunks: [ChunkPlace]

  /// When it was off the CPU; nil: that is not known.
  public var offCPU: OffCPU? { switches.offCPU(id) }

  /// A cursor before the first event.
  public func cursor() -> EventCursor { EventCursor(source) }

  /// A cursor over the first of each `step` chunks: there are gaps between them.
  public func cursor(everyNthChunk step: Int) -> EventCursor {
    var part = source
    part.chunks = stride(from: 0, to: source.chunks.count, by: max(1, step))
      .map { source.chunks[$0] }
    return EventCursor(part)
  }

  /// Calls `body` with each event in order; what was damaged, one line each.
  ///
  /// Inlinable: specialised for `body`, an event costs a few nanoseconds.
  @inlinable
  @discardableResult
  public func forEachEvent(_ body: (Event) throws -> Void) rethrows -> [String] {
    var cursor = cursor()
    while let event = cursor.next() { try body(event) }
    return cursor.problems
  }
}
