// SPDX-License-Identifier: Apache-2.0

import CRecordingABI
public import FunctionNames
import Glibc
import RecordingSchema
import TextFormat
public import Units

/// A recording's directory, opened: sessions, processes, threads, and what is wrong with them.
///
/// No content is trusted: lengths are checked before they are used, what is damaged is skipped and
/// listed in `problems`, what is whole is kept. Events are not read here but by each thread's
/// cursor, which lists the damage that it finds. It may be read while it is being written.
public struct Recording: Sendable {
  /// As it was given.
  public let directory: String
  /// What `nopscope record` noted of the whole.
  public let session: Session
  /// In order of their start, as far as that is known.
  public let processes: [ProcessRecording]
  /// Damage, one line each.
  public let problems: [String]
  /// What a reader should know and is no damage, one line each.
  public let notes: [String]

  private let switches: SwitchTimes
  /// Whether it is known when threads were off the CPU.
  public var hasSwitches: Bool { switches.isThere }
  /// Context switches that found no room.
  public var lostSwitches: UInt64 { switches.lost }

  /// False: `record` is still running, or was killed. What was in memory then is not in the recording.
  public let isClosed: Bool

  /// Opens the directory; every event file's chunk headers are read. Functions are called by `names`.
  public init(directory: String, names: NameStyle = .full) throws(RecordingError) {
    var opening = RecordingOpening(directory: directory, names: names)
    try opening.readSession()
    opening.readProcessLines()
    try opening.readProcesses()
    self.directory = directory
    session = opening.session
    processes = opening.processes
    problems = opening.problems
    notes = opening.notes
    switches = opening.switches
    isClosed = opening.isClosed
  }

  /// Events that were not recorded, by the agents' own account.
  public var lostEvents: UInt64 { processes.reduce(0) { $0 &+ $1.lostEvents } }
  /// An agent met an anomaly, or the reader found damage.
  ///
  /// Cursors may find more.
  public var isCorrupted: Bool {
    !problems.isEmpty || processes.contains { $0.isMarkedCorrupted }
  }
  /// Threads of all processes.
  public var threadCount: Int { processes.reduce(0) { $0 + $1.threads.count } }
  /// Of the event files, on disk.
  public var bytes: UInt64 { processes.reduce(0) { $0 &+ $1.bytes } }
  /// Whether arguments and results of any function were recorded.
  public var hasValues: Bool { processes.first?.symbols.hasSignatures ?? false }
  /// What was wrong with the symbol files that were used until now, and with the context switches.
  public var symbolProblems: [String] {
    var lines = (processes.first?.symbols.problems ?? []) + (switches.problem.map { [$0] } ?? [])
    if switches.lost > 0 {
      lines.append(
        "\(RecordingFormat.switchesName): \(switches.lost) context switches found no room: some times "
          + "off the CPU are not known")
    }
    return lines
  }
  /// The earliest start of a process; zero where no process has one.
  public var startTime: ClockUnits {
    processes.map(\.startTime).filter { $0 > .zero }.min() ?? .zero
  }
}

/// The steps of opening a recording.
private struct RecordingOpening {
  let directory: String
  var session = Session()
  var processes: [ProcessRecording] = []
  var problems: [String] = []
  var notes: [String] = []
  private let symbols: SymbolStore
  private(set) var switches: SwitchTimes
  private let names: NameStyle
  /// What is known of each that joined.
  private var joined: [ImageName: Session.Process] = [:]
  private var hasSession = false
  var isClosed: Bool { !hasSession || session.hasEnded }

  init(directory: String, names: NameStyle) {
    self.directory = directory
    self.names = names
    symbols = SymbolStore(recording: directory)
    switches = SwitchTimes(recording: directory, timeShift: nil)
  }

  private static let longestModules = 256 << 20
  private static let longestProcesses = 1 << 30
  /// Its paths have 4096 bytes at most, each of which may be written as six.
  private static let longestProcessLine = 64 << 10

  mutating func readSession() throws(RecordingError) {
    _ = try directoryNames(directory)
    let name = RecordingFormat.sessionName
    let path = "\(directory)/\(name)"
    let bytes: [UInt8]
    do {
      bytes = try textFile(path, limit: RecordingFormat.longestSession)
    } catch .unreadable(_, _, ENOENT) {
      notes.append(
        "\(name): missing: the reader takes command, times and programs from other files")
      return
    } catch {
      problems.append("\(name): \(error.reason): not used")
      return
    }
    if let parsed = RecordingJSON.decode(Session.self, from: bytes) {
      if let found = parsed.schema, found != RecordingFormat.schema {
        throw .otherSchema(path: path, found: found)
      }
      session = parsed
      hasSession = true
      if let reason = session.noSwitches {
        notes.append("not recorded is when threads were off the CPU: \(reason)")
      }
      if !session.hasEnded {
        notes.append(
          "the recording is not closed: nopscope record is still running, or was killed; the last "
            + "events of each thread are not in it")
      }
    } else {
      problems.append("\(name): expected the JSON of a session, found something else")
    }
  }

  /// Reads `processes`, which recordings of before it was kept do not have: theirs are in session.json.
  mutating func readProcessLines() {
    let name = RecordingFormat.processesName
    do {
      let bytes = try textFile("\(directory)/\(name)", limit: Self.longestProcesses)
      let lines = JSONLines(
        bytes: bytes, name: name, kind: "a process's", longestLine: Self.longestProcessLine)
      var found: [String] = []
      lines.forEach(
        ProcessLine.self, where: { _ in true }, problem: { found.append($0) },
        body: { line, _ in take(line) })
      problems += found
    } catch .unreadable(_, _, ENOENT) {
    } catch {
      problems.append("\(name): \(error.reason): not used")
    }
    for process in session.processes { joined[process.image] = process }
  }

  private mutating func take(_ line: ProcessLine) {
    switch line {
    case .joined(let process): session.processes.append(process)
    case .missing(let missing): session.missing.append(missing)
    case .other: break
    }
  }

  mutating func readProcesses() throws(RecordingError) {
    switches = SwitchTimes(recording: directory, timeShift: session.timeShift)
    let names = try directoryNames(directory)
    let files = names.compactMap(ImageName.init(events:)).sorted()
    if files.isEmpty { throw .noEvents(path: directory) }
    for absent in Set(joined.keys).subtracting(files).sorted() {
      problems.append("\(absent.events): its process joined, but the file is missing")
    }
    tellUnlisted(files.filter { joined[$0] == nil })
    var otherVersion: RecordingError?
    for file in files {
      do {
        processes.append(try readProcess(file))
      } catch .otherVersion(let path, let found) {
        otherVersion = .otherVersion(path: path, found: found)
        problems.append("\(file.events): version \(found), expected \(NREC_VERSION), skipped")
      } catch {
        problems.append("\(error)")
      }
    }
    if processes.isEmpty, let otherVersion { throw otherVersion }
    processes.sort {
      ($0.startTime, $0.pid, $0.incarnation) < ($1.startTime, $1.pid, $1.incarnation)
    }
  }

  private mutating func tellUnlisted(_ files: [ImageName]) {
    guard hasSession, let first = files.first else { return }
    let others = files.count > 1 ? " and \(files.count - 1) others" : ""
    notes.append(
      "\(RecordingFormat.processesName): no line for \(first.events)\(others): the reader takes "
        + "parents and programs from other files")
  }

  private mutating func readProcess(_ name: ImageName) throws(RecordingError)
    -> ProcessRecording
  {
    let shared = SharedFile("\(directory)/\(name.events)")
    let file = try shared.open()
    let header = FileHeader(file.bytes(at: 0, count: Int(NREC_PAGE)))
    let isHeaderRight = try checkHeader(header, file, name)
    var scan = EventFileScan(file, fileName: name.events, header: header)
    scan.run()
    problems += scan.problems
    notes += scan.notes
    let modules = readModules(name)
    if modules.isEmpty, !scan.threads.isEmpty {
      notes.append("\(name.modules): no module in it: functions have no names")
    }
    let raw = isHeaderRight ? header.raw : nrec_file_header()
    let tracer = Tracer(code: raw.tracer) ?? session.tracer
    let threads = scan.threads.sorted { $0.key < $1.key }
      .map { self.thread($0.value, serial: $0.key, shared, name.events, tracer) }
    tellGaps(threads, name, header)
    let known = joined[name]
    let headerLost = raw.lost_events &+ raw.lost_chunks
    if raw.lost_chunks > 0 {
      notes.append(
        "\(name.events): \(raw.lost_chunks) chunks of events were lost: there was no space")
    }
    return ProcessRecording(
      pid: name.pid, incarnation: name.incarnation, parent: known?.parent ?? raw.parent,
      program: known?.program ?? modules.first?.path, arguments: known?.arguments,
      tracer: tracer,
      modules: modules.sorted { $0.firstFunction < $1.firstFunction }, threads: threads,
      startTime: ClockUnits(raw.start_time), endTime: ClockUnits(raw.end_time),
      startRealtimeNanoseconds: raw.start_realtime_nanoseconds, bytes: file.size,
      lostEvents: max(headerLost, threads.reduce(0) { $0 &+ $1.lostEvents }),
      lostChunks: raw.lost_chunks, waits: raw.waits, waitNanoseconds: raw.wait_nanoseconds,
      countedCalls: raw.calls,
      hasEnded: raw.flags & UInt32(NREC_FLAG_ENDED) != 0,
      isMarkedCorrupted: raw.flags & UInt32(NREC_FLAG_CORRUPTED) != 0,
      hasLostReturn: raw.flags & UInt32(NREC_FLAG_LOST_RETURN) != 0,
      isOverwriting: raw.flags & UInt32(NREC_FLAG_OVERWRITE) != 0,
      isFull: raw.flags & UInt32(NREC_FLAG_FULL) != 0,
      hasSharedThread: raw.flags & UInt32(NREC_FLAG_SHARED) != 0,
      isConfined: raw.flags & UInt32(NREC_FLAG_CONFINED) != 0,
      hasThreadWithoutClock: raw.flags & UInt32(NREC_FLAG_NO_CLOCK) != 0,
      scale: scale(raw, name), symbols: symbols, names: names)
  }

  /// Whether the header can be used; throws for another version.
  private mutating func checkHeader(
    _ header: FileHeader, _ file: OpenFile, _ name: ImageName
  ) throws(RecordingError) -> Bool {
    if header.raw.magic == 0, file.size <= UInt64(NREC_PAGE), isWithoutModules(name) {
      notes.append("\(name.events): its process ended before it began to record")
      return false
    }
    if file.size < UInt64(MemoryLayout<nrec_file_header>.size) {
      problems.append("\(name.events): \(file.size) bytes, shorter than its header: truncated")
      return false
    }
    guard header.raw.magic == NREC_FILE_MAGIC else {
      problems.append(
        "\(name.events): magic \(hexAddress(header.raw.magic)), expected "
          + "\(hexAddress(NREC_FILE_MAGIC)): header not used")
      return false
    }
    guard (NREC_OLDEST_VERSION...NREC_VERSION).contains(header.raw.version) else {
      throw .otherVersion(path: file.path, found: header.raw.version)
    }
    return true
  }

  /// Whether the agent never reported a module, as it does once it has written its header.
  private func isWithoutModules(_ name: ImageName) -> Bool {
    (try? textFile("\(directory)/\(name.modules)", limit: Self.longestModules))?.isEmpty == true
  }

  private mutating func readModules(_ name: ImageName) -> [RecordedModule] {
    let file = name.modules
    let bytes: [UInt8]
    do {
      bytes = try textFile("\(directory)/\(file)", limit: Self.longestModules)
    } catch {
      problems.append("\(file): \(error.reason): functions have no names")
      return []
    }
    var found: [String] = []
    let modules = RecordedModule.parse(bytes, name: file) { found.append($0) }
    problems += found
    return modules
  }

  private func thread(
    _ thread: EventFileScan.Thread, serial: UInt32, _ file: SharedFile, _ fileName: String,
    _ tracer: Tracer?
  ) -> ThreadRecording {
    let events = thread.chunks.filter { $0.kind == UInt32(NREC_CHUNK_EVENTS) }
    let first = events.first?.sequence ?? 0
    // Chunks of counters take numbers of the same sequence: without them there would seem to be
    // gaps.
    let span = (thread.chunks.last?.sequence ?? 0) - (thread.chunks.first?.sequence ?? 0)
    return ThreadRecording(
      id: thread.id, serial: serial, name: thread.name,
      lostEvents: thread.chunks.last?.lostEvents ?? 0,
      missingChunks: max(0, Int(span) + 1 - thread.chunks.count), isStartMissing: first > 0,
      switches: switches,
      source: ThreadSource(
        file: file, fileName: fileName, name: thread.name, isPaired: tracer == .function,
        chunks: events),
      treeChunks: thread.chunks.filter { $0.kind == UInt32(NREC_CHUNK_CALL_TREE) },
      profileChunks: thread.chunks.filter { $0.kind == UInt32(NREC_CHUNK_PROFILE) },
      hitsChunks: thread.chunks.filter { $0.kind == UInt32(NREC_CHUNK_HITS) })
  }

  /// In a stream no chunk may be missing; a flight recorder loses its first.
  private mutating func tellGaps(
    _ threads: [ThreadRecording], _ name: ImageName, _ header: FileHeader
  ) {
    // Chunks that the agent itself left out, as its header says, are no damage.
    let isOverwriting = header.has(Int(NREC_FLAG_OVERWRITE)) || header.raw.lost_chunks > 0
    for thread in threads {
      let what = "\(name.events): thread \(thread.id)"
      if thread.missingChunks > 0 {
        let text = "\(what): \(thread.missingChunks) of its chunks are missing in between"
        if isOverwriting { notes.append(text) } else { problems.append(text) }
      }
      if thread.isStartMissing {
        if isOverwriting {
          notes.append("\(what): its first events were overwritten")
        } else {
          problems.append("\(what): its first chunks are missing")
        }
      }
    }
  }

  /// Nanoseconds per unit: the session's clock, or the header's two pairs of times, or a guess.
  private mutating func scale(_ header: nrec_file_header, _ name: ImageName) -> Double {
    let shift = header.time_shift > 0 && header.time_shift < 32 ? header.time_shift : 1
    if let ticks = session.ticksPerSecond, ticks > 0 {
      return Double(UInt64(1) << shift) * 1e9 / Double(ticks)
    }
    let units = header.end_time &- header.start_time
    let real = header.end_realtime_nanoseconds &- header.start_realtime_nanoseconds
    if header.end_time > header.start_time && units > 1_000_000 && real > 0 && real < 1 << 62 {
      return Double(real) / Double(units)
    }
    notes.append("\(name.events): the clock's rate is not known: one unit is taken for 1 ns")
    return 1
  }
}
