// SPDX-License-Identifier: Apache-2.0

import CRecordingABI
import RecordingSchema

/// What the headers of the event files say, summed.
public struct EventTotals: Equatable, Sendable {
  /// Bytes of event files.
  public var bytes: UInt64 = 0
  /// Events that found no room.
  public var lostEvents: UInt64 = 0
  /// Times that a program waited for the disk.
  public var waits: UInt64 = 0
  /// Only of tracers that count; nil where events have to be read for it.
  public var calls: UInt64?
  /// Files whose agent had no chance to write a header.
  public var unreadable = 0
  /// An anomaly ended the tracing of a process.
  public var isCorrupted = false
  /// No space was left on the disk: later events were only counted.
  public var isFull = false
  /// A child that clone(2) started used a thread's thread-local storage: from then on the thread's
  /// events were only counted.
  public var hasSharedThread = false
  /// A program installed a system call filter that forbids patching: what it loaded later is not
  /// traced.
  public var isConfined = false
  /// A thread may not read the time stamp counter: from then on its events were only counted.
  public var hasThreadWithoutClock = false
}

extension RecordingWriter {
  func eventTotals() -> EventTotals {
    var totals = EventTotals()
    if session.tracer?.writesEvents == false { totals.calls = 0 }
    for image in images {
      let size = MemoryLayout<nrec_file_header>.size
      guard let bytes = folder.head(of: image.events, count: size) else {
        totals.unreadable += 1
        continue
      }
      let header = bytes.withUnsafeBytes { $0.loadUnaligned(as: nrec_file_header.self) }
      guard header.magic == NREC_FILE_MAGIC, header.version == UInt32(NREC_VERSION) else {
        totals.unreadable += 1
        continue
      }
      totals.bytes &+= header.next_offset
      // It is not known how many events a lost chunk held: each counts as one event, the least.
      totals.lostEvents &+= header.lost_events &+ header.lost_chunks
      totals.waits &+= header.waits
      if let calls = totals.calls { totals.calls = calls &+ header.calls }
      totals.isCorrupted = totals.isCorrupted || header.flags & UInt32(NREC_FLAG_CORRUPTED) != 0
      totals.isFull = totals.isFull || header.flags & UInt32(NREC_FLAG_FULL) != 0
      func has(_ flag: Int) -> Bool { header.flags & UInt32(flag) != 0 }
      totals.hasSharedThread = totals.hasSharedThread || has(Int(NREC_FLAG_SHARED))
      totals.isConfined = totals.isConfined || has(Int(NREC_FLAG_CONFINED))
      totals.hasThreadWithoutClock = totals.hasThreadWithoutClock || has(Int(NREC_FLAG_NO_CLOCK))
    }
    return totals
  }
}
