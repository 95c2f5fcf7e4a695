// SPDX-License-Identifier: Apache-2.0

import CRecordingABI
import TextFormat
import Units

/// Finds the chunks of one event file and sorts them by thread.
///
/// Only headers are read. A chunk whose header is wrong is skipped page by page until the next that
/// is right: chunks are page-aligned and each says how long it is.
struct EventFileScan {
  struct Thread {
    var id: Int32
    var name: String
    var chunks: [ChunkPlace]
  }

  private let file: OpenFile
  private let fileName: String
  /// Where the used part ends, from the header; the file's size where the header is
  /// wrong.
  private let usedEnd: UInt64
  private(set) var threads: [UInt32: Thread] = [:]
  private(set) var problems: [String] = []
  /// What the agent itself said of it: no damage.
  private(set) var notes: [String] = []
  /// The agent found no space for some chunks, and says so: their places are zero.
  private let isFull: Bool
  /// The process ended by itself: it wrote a chunk into each place that it took.
  private let hasEnded: Bool
  private var skipped: Skipped?

  /// Where no chunk is.
  private struct Skipped {
    var start: UInt64
    var reason: String
    /// Its magic is zero: the agent wrote nothing, or found too little space and cleared the magic.
    var isTakenBack: Bool
    /// Nothing was written to it, or only a header.
    var isUnbegun = true
  }

  private static let page = UInt64(NREC_PAGE)
  private static let headerSize = UInt64(MemoryLayout<nrec_chunk_header>.size)
  /// More open functions than this are taken for damage: 4 MiB of list.
  private static let deepest: UInt32 = 1 << 20

  init(_ file: OpenFile, fileName: String, header: FileHeader) {
    self.file = file
    self.fileName = fileName
    let next = header.raw.next_offset
    isFull = header.has(Int(NREC_FLAG_FULL))
    hasEnded = header.has(Int(NREC_FLAG_ENDED))
    let isPlausible = next >= Self.page && next % Self.page == 0
    usedEnd = isPlausible ? next : file.size
    if !isPlausible && file.size > Self.page {
      problems.append(
        "\(fileName): next_offset \(hexAddress(next)) is not the start of a page after the "
          + "first: looking for chunks to the end")
    } else if next > file.size {
      let text = "\(fileName): \(file.size) bytes, expected \(hexAddress(next))"
      if isFull {
        notes.append(text + ": no space was left")
      } else {
        problems.append(text + ": truncated")
      }
    }
  }

  mutating func run() {
    var offset = Self.page
    while offset < file.size {
      let header = ChunkHeader(file.bytes(at: offset, count: Int(Self.headerSize)))
      let reason = whyWrong(header.raw, at: offset)
      if let reason {
        // Behind the used part the file may have space, which is full of zero bytes.
        if offset >= usedEnd { break }
        skipped =
          skipped ?? Skipped(start: offset, reason: reason, isTakenBack: header.raw.magic == 0)
        if header.raw.magic != 0 || !isZeroBehindHeader(offset) { skipped?.isUnbegun = false }
        // Skip a hole in one step: a sparse file of a terabyte must not take an hour.
        let next = offset + Self.page
        offset = max(next, file.nextData(from: next) / Self.page * Self.page)
        continue
      }
      tellSkipped(upTo: offset)
      if offset >= usedEnd {
        note(
          "chunk at \(hexAddress(offset)) of \(fileName): beyond next_offset, read all the same")
      }
      add(header, at: offset)
      offset += UInt64(header.raw.size)
    }
    tellSkipped(upTo: min(offset, file.size))
    for serial in threads.keys { sort(serial) }
  }

  // Whether a page is zero but for a header. What is in the header does not matter: its magic,
  // which is written last, is missing.
  private func isZeroBehindHeader(_ page: UInt64) -> Bool {
    file.bytes(at: page + Self.headerSize, count: Int(Self.page - Self.headerSize))
      .allSatisfy { $0 == 0 }
  }

  private mutating func tellSkipped(upTo offset: UInt64) {
    guard let gap = skipped else { return }
    skipped = nil
    let place = "chunk at \(hexAddress(gap.start)) of \(fileName): "
    let end = "skipped to \(hexAddress(offset))"
    if isFull && gap.isTakenBack {
      notes.append(place + "no space was left for it, " + end)
    } else if !hasEnded && gap.isUnbegun {
      // No chunk is lost here: that would leave a gap in its thread's sequence numbers.
      notes.append(place + "the process ended before it wrote this chunk, " + end)
    } else {
      note(place + "\(gap.reason), " + end)
    }
  }

  private mutating func note(_ text: String) { problems.append(text) }

  private func whyWrong(_ header: nrec_chunk_header, at offset: UInt64) -> String? {
    if header.magic != NREC_CHUNK_MAGIC {
      return "magic \(hexAddress(header.magic)), expected \(hexAddress(NREC_CHUNK_MAGIC))"
    }
    let size = UInt64(header.size)
    if size < Self.headerSize || size % Self.page != 0 {
      return "size \(size), expected a multiple of \(Self.page)"
    }
    let end = header.usedBytes
    if end > size || end < Self.headerSize {
      return "used \(end), expected \(Self.headerSize) to \(size)"
    }
    if header.open_functions > Self.deepest
      || Self.headerSize + 4 * UInt64(header.open_functions) > end
    {
      return "open_functions \(header.open_functions), more than fit"
    }
    if Self.headerSize + 4 * UInt64(header.open_functions) > file.size - offset {
      return "cut off in its header: truncated"
    }
    return nil
  }

  private mutating func add(_ header: ChunkHeader, at offset: UInt64) {
    let raw = header.raw
    var length = raw.usedBytes
    if length > file.size - offset {
      note(
        "chunk at \(hexAddress(offset)) of \(fileName): \(file.size - offset) of \(length) "
          + "bytes: truncated")
      length = file.size - offset
    }
    let record = ChunkPlace(
      offset: offset, length: length, sequence: raw.sequence,
      openFunctions: raw.open_functions, kind: raw.kind, baseTime: ClockUnits(raw.base_time),
      lostEvents: UInt64(raw.lost_events))
    if raw.kind < UInt32(NREC_CHUNK_EVENTS) || raw.kind > UInt32(NREC_CHUNK_HITS) {
      note("chunk at \(hexAddress(offset)) of \(fileName): kind \(raw.kind), expected 1 to 4")
      return
    }
    let empty = Thread(id: raw.thread, name: header.threadName, chunks: [])
    threads[raw.thread_serial, default: empty].chunks.append(record)
    threads[raw.thread_serial]?.name = header.threadName
  }

  /// Into the order in which they were written.
  ///
  /// Where the agent is killed while it appends a chunk, the recorder appends it again from memory,
  /// whole. So of two with one sequence number and base time the later counts; that is no damage.
  private mutating func sort(_ serial: UInt32) {
    guard var chunks = threads[serial]?.chunks else { return }
    chunks.sort { ($0.sequence, $0.offset) < ($1.sequence, $1.offset) }
    var kept: [ChunkPlace] = []
    for chunk in chunks {
      if let last = kept.last, last.sequence == chunk.sequence, last.baseTime == chunk.baseTime {
        kept[kept.count - 1] = chunk
      } else if let last = kept.last, last.sequence == chunk.sequence {
        note(
          "chunk at \(hexAddress(chunk.offset)) of \(fileName): sequence \(chunk.sequence) of "
            + "thread \(serial) came before, skipped")
      } else {
        kept.append(chunk)
      }
    }
    threads[serial]?.chunks = kept
  }
}
