// SPDX-License-Identifier: Apache-2.0

import CRecordingABI
import TextFormat
public import Units

/// The events of one thread in the order in which they happened, read chunk by chunk.
///
/// Memory: one window of the file and the open functions of one chunk. Damage ends the chunk it is
/// in and adds a line to `problems`; reading continues with the next chunk. A cursor belongs to one
/// task at a time.
///
/// Unsafe, and why it is safe. `window` is `windowSize + 8` bytes of ours, freed by deinit. At all
/// times `position <= filled + 7` and `filled <= windowSize`, and the 8 bytes at `filled` are zero.
/// A load of 8 bytes happens only where `position <= lastStart <= filled - 1`, so that it lies
/// inside. An event that ends beyond `filled` is not handed out.
public struct EventCursor: ~Copyable {
  @usableFromInline static var windowSize: Int { 1 << 16 }

  @usableFromInline let window: UnsafeMutableRawPointer
  @usableFromInline var position = 0
  @usableFromInline var filled = 0
  /// The last position where an event may begin before `advance` is called.
  @usableFromInline var lastStart = -1
  @usableFromInline var time = ClockUnits.zero

  /// What was wrong, one line each.
  public private(set) var problems: [String] = []
  /// The functions that were open when this chunk began, or on the stack that was switched to last,
  /// outermost first.
  public private(set) var openFunctions: [UInt32] = []
  /// The stack on which this chunk began; 0 is the thread's own.
  public private(set) var firstStack: UInt32 = 0
  /// As the chunk that is being read has it.
  public private(set) var threadName: String
  /// Events of the thread that were lost before this chunk.
  public private(set) var lostEvents: UInt64 = 0

  /// Arguments and results are kept for `takeValues`; else they are skipped.
  public var wantsValues = false
  /// There are values before the event that was handed out last.
  public private(set) var hasValues = false
  var values = RecordedValues(function: 0, moment: .entry, bytes: [])

  // Of the tracer `function`: see CallerPairs.
  @usableFromInline let isPaired: Bool
  var pairs = CallerPairs()
  var pendingParent: Event?
  var isLongEntry = false
  var longEntry: UInt64 = 0

  private let source: ThreadSource
  private let file: OpenFile?
  private var nextChunk = 0
  private var chunk: ChunkPlace?
  /// What is still to be read of the chunk.
  private var fileOffset: UInt64 = 0
  private var fileEnd: UInt64 = 0

  init(_ source: ThreadSource) {
    self.source = source
    isPaired = source.isPaired
    threadName = source.name
    window = .allocate(byteCount: Self.windowSize + 8, alignment: 8)
    do {
      file = try source.file.open()
    } catch {
      file = nil
      problems = ["\(error)"]
    }
  }

  deinit { window.deallocate() }

  /// The next event; nil at the end of the thread.
  @inlinable
  public mutating func next() -> Event? { isPaired ? nextPaired() : nextPlain() }

  /// The next event as it is written.
  @inlinable
  mutating func nextPlain() -> Event? {
    while true {
      if position > lastStart {
        if let event = advance() { return event }
        if position > lastStart { return nil }
      }
      let word = UInt64(
        littleEndian: window.loadUnaligned(fromByteOffset: position, as: UInt64.self))
      let event: Event
      if word & 1 == 1 {
        let isShort = word & 2 == 0
        time &+= ClockUnits((word >> 2) & (isShort ? 0x3f : 0x3fff))
        position &+= isShort ? 1 : 2
        event = Event(.exit, time: time)
      } else if word & 2 == 2 {
        time &+= ClockUnits((word >> 2) & 0x3f)
        position &+= 2
        event = Event(.entry, time: time, number: (word >> 8) & 0xff)
      } else if word & 4 == 4 {
        time &+= ClockUnits((word >> 3) & 0xff)
        position &+= 3
        event = Event(.entry, time: time, number: (word >> 11) & 0x1fff)
      } else if word & 8 == 8 {
        time &+= ClockUnits((word >> 4) & 0x7fff)
        position &+= 4
        event = Event(.entry, time: time, number: (word >> 19) & 0x1fff)
      } else if let long = longEvent(word) {
        event = long
      } else {
        continue
      }
      if position <= filled { return event }
      endTruncated()
    }
  }

  /// An event whose first byte is its kind; nil where there is none to hand out.
  @usableFromInline
  mutating func longEvent(_ word: UInt64) -> Event? {
    let start = position
    position &+= 8
    switch word & 0xff {
    case UInt64(NREC_EVENT_ENTRY):
      time &+= ClockUnits((word >> 8) & 0xff_ffff)
      isLongEntry = true
      return Event(.entry, time: time, number: word >> 32)
    case UInt64(NREC_EVENT_TIME):
      if position > filled { endTruncated() } else { time &+= ClockUnits(word >> 8) }
      return nil
    case UInt64(NREC_EVENT_UNWOUND):
      position = start + 4
      return Event(.unwound, time: time, number: (word >> 8) & 0xff_ffff)
    case UInt64(NREC_EVENT_EXIT_AT):
      time &+= ClockUnits((word >> 8) & 0xff_ffff)
      return Event(.exitAt, time: time, number: word >> 32)
    case UInt64(NREC_EVENT_LOST): return Event(.lost, time: time, number: word >> 8)
    case UInt64(NREC_EVENT_PARENT):
      return Event(returningTo: CodeAddress((word >> 8) & 0xffff_ffff_ffff), time: time)
    case UInt64(NREC_EVENT_SWITCH):
      guard readList(count: Int((word >> 8) & 0xff_ffff)) else { return nil }
      return Event(.switched, time: time, number: word >> 32)
    case UInt64(NREC_EVENT_VALUES):
      readValues(word)
      return nil
    case UInt64(NREC_EVENT_SPLIT):
      return Event(.split, time: time, number: ((word >> 8) & 0xff_ffff) << 32 | word >> 32)
    case 0x00:
      note(at: start, "expected an event, found a zero byte before the end, rest skipped")
    default:
      note(at: start, "expected an event, found the byte \(hexDigits(word & 0xff)), rest skipped")
    }
    endChunk()
    return nil
  }
}

// MARK: - From window to window, from chunk to chunk

extension EventCursor {
  /// Fills the window, or begins the next chunk and returns its event. Nil where the window was
  /// filled, and at the end.
  @usableFromInline
  mutating func advance() -> Event? {
    guard let file else { return nil }
    if position < filled || fileOffset < fileEnd {
      fill(file)
      if position <= lastStart { return nil }
    }
    while nextChunk < source.chunks.count {
      let record = source.chunks[nextChunk]
      nextChunk += 1
      if let event = begin(record, file) { return event }
    }
    return nil
  }

  private mutating func begin(_ record: ChunkPlace, _ file: OpenFile) -> Event? {
    let headerSize = MemoryLayout<nrec_chunk_header>.size
    let listSize = 4 * Int(record.openFunctions)
    let bytes = file.bytes(at: record.offset, count: headerSize + listSize)
    // The file was whole when it was listed: it may have been cut since.
    guard bytes.count == headerSize + listSize else {
      problems.append("\(source.describe(record)): gone since it was listed, skipped")
      return nil
    }
    let isGap = chunk.map { record.sequence != $0.sequence &+ 1 } ?? true
    openFunctions = bytes.withUnsafeBytes { bytes in
      (0..<Int(record.openFunctions)).map { index in
        UInt32(
          littleEndian: bytes.loadUnaligned(
            fromByteOffset: headerSize + 4 * index, as: UInt32.self))
      }
    }
    firstStack = 0
    if openFunctions.count >= 2, openFunctions[0] == NREC_OTHER_STACK {
      firstStack = openFunctions[1]
      openFunctions.removeFirst(2)
    }
    threadName = ChunkHeader(bytes).threadName
    chunk = record
    lostEvents = record.lostEvents
    time = record.baseTime
    fileOffset = record.offset + UInt64(bytes.count)
    fileEnd = record.offset + record.length
    position = 0
    filled = 0
    lastStart = -1
    return Event(.chunk, time: time, number: isGap ? 1 : 0)
  }

  /// Reads the functions that follow a SWITCH. False: they are cut off.
  private mutating func readList(count: Int) -> Bool {
    openFunctions = []
    guard load(4 * count) else { return false }
    openFunctions = (0..<count).map { index in
      UInt32(
        littleEndian: window.loadUnaligned(
          fromByteOffset: position + 4 * index, as: UInt32.self))
    }
    position += 4 * count
    return true
  }

  /// Makes sure that `count` bytes from `position` on are in the window. False: they are cut off.
  private mutating func load(_ count: Int) -> Bool {
    while position + count > filled, let file, fileOffset < fileEnd, count < Self.windowSize {
      fill(file)
    }
    if position + count <= filled { return true }
    endTruncated()
    return false
  }

  /// Reads the values that follow the head of a VALUES, or skips them.
  private mutating func readValues(_ head: UInt64) {
    let count = Int((head >> 16) & 0xffff)
    guard load(count) else { return }
    if wantsValues, let moment = RecordedValues.Moment(rawValue: UInt8((head >> 8) & 0xff)) {
      values = RecordedValues(
        function: UInt32(head >> 32), moment: moment,
        bytes: Array(UnsafeRawBufferPointer(start: window + position, count: count)))
      hasValues = true
    }
    position += count
  }

  /// The values of the call that the event begins or ends, where there are any.
  ///
  /// To be called with each event that `next` returns while `hasValues` is true, before the next one.
  public mutating func takeValues(of event: Event) -> RecordedValues? {
    hasValues = false
    let isTheirs =
      switch values.moment {
      case .entry: event.kind == .entry && UInt64(values.function) == event.number
      case .exit: event.kind == .exit
      }
    return isTheirs ? values : nil
  }

  /// Moves what is left to the window's start and reads on behind it.
  private mutating func fill(_ file: OpenFile) {
    let left = max(0, filled - position)
    if left > 0 { window.copyMemory(from: window + position, byteCount: left) }
    let room = Int(min(UInt64(Self.windowSize - left), fileEnd - fileOffset))
    let buffer = UnsafeMutableRawBufferPointer(start: window + left, count: room)
    let got = room > 0 ? file.read(buffer, at: fileOffset) : 0
    if got < room {
      problems.append("\(source.describe(chunk)): ends after \(got) of \(room) bytes: truncated")
      fileEnd = fileOffset + UInt64(got)
    }
    fileOffset += UInt64(got)
    position = 0
    filled = left + got
    (window + filled).storeBytes(of: 0, as: UInt64.self)
    // While the chunk goes on behind the window, an event may begin only where all of it lies in
    // the window. At the chunk's end `next` finds an event that is cut off.
    lastStart = fileOffset < fileEnd ? filled - 8 : filled - 1
  }

  /// Leaves the rest of the chunk alone.
  private mutating func endChunk() {
    position = 0
    filled = 0
    lastStart = -1
    fileOffset = fileEnd
  }

  @usableFromInline
  mutating func endTruncated() {
    note(at: filled, "the last event is cut off")
    endChunk()
  }

  /// Reports damage in the event before `position`, and leaves the rest of its chunk alone.
  mutating func skipChunk(_ text: String) {
    note(at: position, text + ", rest skipped")
    endChunk()
  }

  /// Reports damage at a place in the window.
  private mutating func note(at place: Int, _ text: String) {
    let offset = fileOffset - UInt64(filled) + UInt64(place)
    problems.append("\(source.describe(chunk)): at \(hexAddress(offset)): \(text)")
  }
}
