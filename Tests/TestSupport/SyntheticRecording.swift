// SPDX-License-Identifier: Apache-2.0

import CRecordingABI
import Foundation

/// A recording that a test writes itself, as the agent and the recorder would write it.
///
/// With the defaults one unit is one nanosecond (2 GHz, time shift 1).
public struct SyntheticRecording: Sendable {
  /// As session.json names it.
  public var tracer = "function_graph"
  /// As session.json has it.
  public var command = ["./program", "argument"]
  /// As session.json has it; nil: it says nothing.
  public var ticksPerSecond: Int64? = 2_000_000_000
  /// As session.json has them: JSON of the options.
  public var options = "{}"
  /// Whether session.json was closed.
  public var hasEnded = true
  /// Whether session.json is written.
  public var hasSession = true
  /// Whether the processes are in a file of their own; else in session.json, as of old.
  public var hasProcessLines = true
  /// With their modules and chunks.
  public var processes: [SyntheticProcess] = []
  /// When threads left the CPU and came back; empty: there is no such file.
  public var switches: [SyntheticSwitch] = []

  /// A recording of these processes.
  public init(tracer: String = "function_graph", processes: [SyntheticProcess] = []) {
    self.tracer = tracer
    self.processes = processes
  }

  private static let tracers = ["function_graph", "function", "callgraph", "profile", "hits"]

  /// Writes all files into `directory`, and creates it if it does not exist.
  public func write(to directory: String) throws {
    let symbols = directory + "/symbols"
    try FileManager.default.createDirectory(atPath: symbols, withIntermediateDirectories: true)
    let number = UInt32((Self.tracers.firstIndex(of: tracer) ?? 0) + 1)
    for process in processes {
      let base = "\(directory)/\(process.pid)-\(process.incarnation)"
      try process.eventFile(tracer: number).write(to: URL(fileURLWithPath: base + ".events"))
      try Data(process.moduleLines().utf8).write(to: URL(fileURLWithPath: base + ".modules"))
      for (index, module) in process.modules.enumerated() {
        let name = module.buildID ?? "path-\(index)"
        try Data(module.symbolFile().utf8).write(to: URL(fileURLWithPath: "\(symbols)/\(name)"))
        if let text = module.signatures {
          try Data(text.utf8).write(to: URL(fileURLWithPath: "\(symbols)/\(name).args"))
        }
        guard let lines = module.lineFile else { continue }
        try Data(lines.utf8).write(to: URL(fileURLWithPath: "\(symbols)/\(name).lines"))
      }
    }
    if !switches.isEmpty {
      try switchFile().write(to: URL(fileURLWithPath: directory + "/switches"))
    }
    if hasSession {
      try sessionJSON().write(to: URL(fileURLWithPath: directory + "/session.json"))
      if hasProcessLines {
        try processLines().write(to: URL(fileURLWithPath: directory + "/processes"))
      }
    }
  }

  /// Writes the recording into a new folder and returns its path.
  public func write() throws -> String {
    let directory = try TemporaryFolder.shared.fresh("recording")
    try write(to: directory)
    return directory
  }

  private func sessionJSON() throws -> Data {
    var object: [String: Any] = [
      "schema": "nopscope.recording/1", "version": Int(NREC_VERSION), "command": command,
      "tracer": tracer,
      "startRealtimeNanoseconds": 1_700_000_000_000_000_000, "timeShift": 1,
      "host": ["name": "test"], "ended": hasEnded,
      "exitStatus": hasEnded ? 0 as Any : NSNull(),
    ]
    object["options"] = try JSONSerialization.jsonObject(with: Data(options.utf8))
    if let ticksPerSecond { object["ticksPerSecond"] = ticksPerSecond }
    if !hasProcessLines { object["processes"] = processes.map(\.line) }
    return try JSONSerialization.data(withJSONObject: object)
  }

  /// Its clocks have the moment 0 in common, so that its nanoseconds are units.
  private func switchFile() -> Data {
    var header = nrec_switches_header(
      magic: NREC_SWITCHES_MAGIC, first_ticks: 0, first_nanoseconds: 0,
      last_ticks: 2_000_000_000, last_nanoseconds: 1_000_000_000, lost: 0)
    return switches.reduce(into: withUnsafeBytes(of: &header) { Data($0) }) { data, one in
      var raw = nrec_switch(
        nanoseconds: one.time, thread: UInt32(bitPattern: one.thread), kind: one.kind)
      withUnsafeBytes(of: &raw) { data += $0 }
    }
  }

  private func processLines() throws -> Data {
    try processes.reduce(into: Data()) { lines, process in
      lines += try JSONSerialization.data(withJSONObject: ["process": process.line])
      lines.append(UInt8(ascii: "\n"))
    }
  }
}

/// A thread leaves the CPU, or comes back.
public struct SyntheticSwitch: Sendable {
  /// In units.
  public var time: UInt64
  /// The thread's id.
  public var thread: Int32
  /// NREC_SWITCH_*.
  public var kind: UInt32

  /// The thread is off the CPU from one time to another: it waits, or could run.
  public static func away(
    _ thread: Int32, from: UInt64, to: UInt64, isRunnable: Bool = false
  ) -> [SyntheticSwitch] {
    let kind = isRunnable ? NREC_SWITCH_PREEMPTED : NREC_SWITCH_OUT
    return [
      SyntheticSwitch(time: from, thread: thread, kind: UInt32(kind)),
      SyntheticSwitch(time: to, thread: thread, kind: UInt32(NREC_SWITCH_IN)),
    ]
  }
}

/// One process of a synthetic recording.
public struct SyntheticProcess: Sendable {
  /// The process id.
  public var pid: Int32 = 4711
  /// Counts the execs of the pid.
  public var incarnation: UInt32 = 0
  /// The parent's process id.
  public var parent: Int32 = 1
  /// Path of the executable.
  public var program = "/usr/bin/program"
  /// As `processes` has them; nil: it says nothing.
  public var arguments: [String]?
  /// In units.
  public var startTime: UInt64 = 1_000_000
  /// In units; 0: it was not closed.
  public var endTime: UInt64 = 0
  /// By its header.
  public var lostEvents: UInt64 = 0
  /// By its header.
  public var calls: UInt64 = 0
  /// NREC_FLAG_*.
  public var flags = UInt32(NREC_FLAG_ENDED)
  /// In the order of their coming.
  public var modules: [SyntheticModule] = []
  /// In the order of the file.
  public var chunks: [SyntheticChunk] = []

  /// A process with these modules and chunks.
  public init(modules: [SyntheticModule] = [], chunks: [SyntheticChunk] = []) {
    self.modules = modules
    self.chunks = chunks
  }

  /// As session.json and `processes` have it.
  fileprivate var line: [String: Any] {
    let name = "\(pid)-\(incarnation)"
    var line: [String: Any] = [
      "pid": pid, "incarnation": incarnation, "parent": parent,
      "begin": parent > 1 ? "fork" : "start", "program": program,
      "events": name + ".events", "modules": name + ".modules",
    ]
    line["arguments"] = arguments
    return line
  }

  /// The bytes of `PID-N.events`.
  public func eventFile(tracer: UInt32) -> Data {
    let body = chunks.reduce(into: Data()) { $0 += $1.data() }
    var header = nrec_file_header()
    header.magic = NREC_FILE_MAGIC
    header.version = UInt32(NREC_VERSION)
    header.header_size = UInt32(MemoryLayout<nrec_file_header>.size)
    header.process = pid
    header.parent = parent
    header.incarnation = incarnation
    header.tracer = tracer
    header.time_shift = 1
    header.flags = flags
    header.start_time = startTime
    header.start_realtime_nanoseconds = 1_700_000_000_000_000_000
    header.end_time = endTime
    header.end_realtime_nanoseconds =
      endTime == 0 ? 0 : header.start_realtime_nanoseconds + (endTime - startTime)
    header.next_offset = 4096 + UInt64(body.count)
    header.lost_events = lostEvents
    header.calls = calls
    return withUnsafeBytes(of: &header) { padded(Data($0), to: 4096) } + body
  }

  /// The text of `PID-N.modules`.
  public func moduleLines() -> String {
    var text = ""
    for module in modules {
      let buildID = module.buildID.map { "\"\($0)\"" } ?? "null"
      text += """
        {"load":{"generation":\(module.generation),"path":"\(module.path)","buildID":\(buildID),\
        "loadBias":\(module.loadBias),"textStart":\(module.loadBias + 0x1000),\
        "textEnd":\(module.loadBias + 0x100000),"time":\(module.loadTime),\
        "firstFunction":\(module.firstFunction),"sites":\(module.functions.count),\
        "armed":\(module.armed ?? module.functions.count),"skipped":\(module.skipped),\
        "status":"\(module.status)"\(module.plan.map { ",\"plan\":\"\($0)\"" } ?? "")}}\n
        """
    }
    for module in modules {
      guard let time = module.unloadTime else { continue }
      text += "{\"unload\":{\"generation\":\(module.generation),\"time\":\(time)}}\n"
    }
    return text
  }
}

/// A module and its functions; function i has its call site at 0x1000 + 0x10 i.
public struct SyntheticModule: Sendable {
  /// Of the process, from 1.
  public var generation = 1
  /// Of its file.
  public var path: String
  /// Lower-case hexadecimal; nil: it has none.
  public var buildID: String?
  /// Run-time minus link-time address.
  public var loadBias: UInt64 = 0x5555_0000_0000
  /// Number of its function 0.
  public var firstFunction: UInt32
  /// Their linked names.
  public var functions: [String]
  /// By index: functions whose returns are not hooked.
  public var entryOnly: Set<Int> = []
  /// By index: where functions are defined.
  public var sources: [Int: (file: String, line: Int)] = [:]
  /// The text of its file of signatures; nil: it has none.
  public var signatures: String?
  /// The text of its file of source lines, where it is not made of `sources`.
  public var rawLines: String?
  /// Places that looked like call sites.
  public var skipped = 0
  /// How many sites are armed; nil: all of them.
  public var armed: Int?
  /// `ok`, or why nothing was armed.
  public var status = "ok"
  /// The plan, as the recorder writes it; nil: an older recording, without plans.
  public var plan: String?
  /// In units.
  public var loadTime: UInt64 = 1_000_000
  /// In units; nil: never.
  public var unloadTime: UInt64?

  /// A module at `path` with these functions.
  public init(
    _ path: String, buildID: String? = "00112233445566778899aabbccddeeff00112233",
    firstFunction: UInt32 = 0, functions: [String]
  ) {
    self.path = path
    self.buildID = buildID
    self.firstFunction = firstFunction
    self.functions = functions
  }

  /// The text of its file of source lines; nil: it has none.
  fileprivate var lineFile: String? {
    if let rawLines { return rawLines }
    if sources.isEmpty { return nil }
    let files = Set(sources.values.map(\.file)).sorted()
    let lines = sources.sorted { $0.key < $1.key }.map { site, source in
      "\(site)\t\(files.firstIndex(of: source.file) ?? 0)\t\(source.line)"
    }
    let head = "nopscope.lines 1 \(lines.count) \(files.count)"
    return ([head] + files + lines).map { $0 + "\n" }.joined()
  }

  /// The text of its file in `symbols/`.
  public func symbolFile() -> String {
    var text = "nopscope.symbols 1 \(functions.count) \(path)\n"
    for (index, name) in functions.enumerated() {
      let flags = entryOnly.contains(index) ? NREC_SITE_ENTRY_ONLY : 0
      text += "\(String(0x1000 + 0x10 * index, radix: 16))\t\(flags)\t\(name)\n"
    }
    return text
  }
}

/// One chunk of a synthetic recording.
public struct SyntheticChunk: Sendable {
  /// The thread's id.
  public var thread: Int32 = 4711
  /// Counts the threads of the process.
  public var serial: UInt32 = 0
  /// Counts the chunks of the thread.
  public var sequence: UInt32 = 0
  /// The thread's.
  public var name = "program"
  /// NREC_CHUNK_*.
  public var kind = UInt32(NREC_CHUNK_EVENTS)
  /// Calls that are open at its beginning, the outermost first.
  public var openFunctions: [UInt32] = []
  /// In units.
  public var baseTime: UInt64 = 1_000_000
  /// Before its first event.
  public var lostEvents: UInt64 = 0
  /// Its encoded events.
  public var body: [UInt8] = []

  /// A chunk of events, from `baseTime`.
  public init(
    sequence: UInt32 = 0, baseTime: UInt64 = 1_000_000, open openFunctions: [UInt32] = [],
    _ write: (inout EventEncoder) -> Void
  ) {
    self.sequence = sequence
    self.baseTime = baseTime
    self.openFunctions = openFunctions
    var encoder = EventEncoder(baseTime: baseTime)
    write(&encoder)
    body = encoder.bytes
  }

  /// A merged call tree: function, index of the parent, calls; the first is the root.
  public init(tree: [(function: UInt32, parent: UInt32, calls: UInt64)]) {
    kind = UInt32(NREC_CHUNK_CALL_TREE)
    for entry in tree {
      var node = nrec_tree_node(function: entry.function, parent: entry.parent, calls: entry.calls)
      withUnsafeBytes(of: &node) { body += $0 }
    }
  }

  /// Calls by function number.
  public init(hits: [UInt64]) {
    kind = UInt32(NREC_CHUNK_HITS)
    for var calls in hits { withUnsafeBytes(of: &calls) { body += $0 } }
  }

  /// A profile, by function number.
  public init(profile: [nrec_profile_entry]) {
    kind = UInt32(NREC_CHUNK_PROFILE)
    for var entry in profile { withUnsafeBytes(of: &entry) { body += $0 } }
  }

  /// The same chunk of another thread.
  public func of(thread: Int32, serial: UInt32, name: String) -> SyntheticChunk {
    var chunk = self
    chunk.thread = thread
    chunk.serial = serial
    chunk.name = name
    return chunk
  }

  func data() -> Data {
    var header = nrec_chunk_header()
    let used = MemoryLayout<nrec_chunk_header>.size + 4 * openFunctions.count + body.count
    precondition(kind != UInt32(NREC_CHUNK_EVENTS) || used <= 0xffff, "more than a state counts")
    let size = (used + 4095) / 4096 * 4096
    header.magic = NREC_CHUNK_MAGIC
    header.size = UInt32(size)
    header.thread = thread
    header.thread_serial = serial
    header.sequence = sequence
    header.kind = kind
    // The state is time << 16 | offset. Only a writer that continues the chunk uses its time.
    header.state = kind == UInt32(NREC_CHUNK_EVENTS) ? baseTime << 16 | UInt64(used) : 0
    header.open_functions = UInt32(openFunctions.count)
    header.base_time = baseTime
    header.lost_events = UInt32(clamping: lostEvents)
    withUnsafeMutableBytes(of: &header.thread_name) { target in
      for (index, byte) in name.utf8.prefix(15).enumerated() { target[index] = byte }
    }
    var data = withUnsafeBytes(of: &header) { Data($0) }
    for function in openFunctions {
      withUnsafeBytes(of: function.littleEndian) { data += $0 }
    }
    return padded(data + body, to: size)
  }
}

private func padded(_ data: Data, to size: Int) -> Data {
  data + Data(count: max(0, size - data.count))
}
