// SPDX-License-Identifier: Apache-2.0

import RecordingReader
import TextFormat

/// uftrace's data directory, format version 4.
///
/// TID.dat        16 bytes an entry or exit: nanoseconds, then type, magic, depth and address
/// task.txt       sessions (SESS: one a program image), processes (FORK) and threads (TASK)
/// sid-….map      where a session's modules are
/// MODULE.sym     the functions' names
/// info           what was run
///
/// Learnt from what `uftrace record` 0.13 writes and its own `uftrace dump` says of it. It has no
/// room for notes; calls deeper than 1,024 it cannot hold are left out and counted.
struct UftraceWriter: SliceWriter {
  private let folder: OutputFolder
  private let recording: Recording
  /// Nanoseconds of the recording's start on uftrace's clock.
  private let startNanoseconds: UInt64
  private var addresses = UftraceAddresses()
  private var records: FolderFile?
  private var tasks = ""
  private var images: [ProgramImage] = []
  private var known: (pids: Set<Int32>, threads: Set<Int32>) = ([], [])
  private var threads: [Int32] = []
  private var depth = 0
  private(set) var leftOut: UInt64 = 0
  private var endTime: UInt64 = 0

  /// A process from one exec to the next: what uftrace calls a session.
  private struct ProgramImage {
    var id: String
    var process: (pid: Int32, incarnation: UInt32)
  }

  private enum Kind {
    static let entry: UInt64 = 0
    static let exit: UInt64 = 1
  }
  /// Three bits, 3 and up.
  private static let magic: UInt64 = 5
  /// The depth's ten bits.
  private static let mostDepth = 1 << 10

  init(_ folder: OutputFolder, _ recording: Recording) {
    self.folder = folder
    self.recording = recording
    let first = recording.processes.first { $0.startTime == recording.startTime }
    startNanoseconds = ExportClock(origin: .zero, scale: first?.scale ?? 1)
      .nanoseconds(recording.startTime)
  }

  func check() throws { try records?.check() }

  mutating func begin(_ thread: ExportedThread) throws {
    let process = thread.process
    let last = images.last?.process
    if last?.pid != process.pid || last?.incarnation != process.incarnation { beginImage(thread) }
    task("TASK", thread.startTime, "tid=\(thread.thread.id) pid=\(process.pid)")
    if known.threads.insert(thread.thread.id).inserted { threads.append(thread.thread.id) }
    records = try folder.append("\(thread.thread.id).dat")
    depth = 0
  }

  private mutating func beginImage(_ thread: ExportedThread) {
    let process = thread.process
    // Before any of its threads' tasks.
    let clock = ExportClock(origin: recording.startTime, scale: process.scale)
    let time = min(thread.startTime, clock.nanoseconds(process.startTime))
    if known.pids.contains(process.parent) && !known.pids.contains(process.pid) {
      task("FORK", time, "pid=\(process.pid) ppid=\(process.parent)")
    }
    known.pids.insert(process.pid)
    let number = UInt64(UInt32(bitPattern: process.pid)) << 32 | UInt64(images.count)
    let id = hexDigits(number, width: 16)
    images.append(ProgramImage(id: id, process: (process.pid, process.incarnation)))
    let window = addresses.window(process.program ?? "process-\(process.pid)")
    let name = addresses.windows[window].path
    task("SESS", time, "pid=\(process.pid) sid=\(id) exename=\"\(name)\"")
  }

  private mutating func task(_ kind: String, _ time: UInt64, _ text: String) {
    let (seconds, rest) = (time + startNanoseconds).quotientAndRemainder(dividingBy: 1_000_000_000)
    tasks += "\(kind) timestamp=\(seconds).\(String(rest).zeroPadded(to: 9)) \(text)\n"
  }

  mutating func open(
    _ function: ExportedFunction, _ functions: borrowing ExportedFunctions, at time: UInt64,
    _ details: SliceDetails
  ) {
    let address = addresses.address(function.index, functions)
    if depth < Self.mostDepth {
      write(Kind.entry, address, at: time)
    } else if details.note != .switchedBack {
      leftOut += 1
    }
    depth += 1
  }

  mutating func close(_ function: ExportedFunction, at time: UInt64, _ details: SliceDetails) {
    depth -= 1
    if depth < Self.mostDepth { write(Kind.exit, addresses.known(function.index), at: time) }
  }

  mutating func instant(
    _ function: ExportedFunction, _ functions: borrowing ExportedFunctions, at time: UInt64,
    _ details: SliceDetails
  ) {
    open(function, functions, at: time, details)
    close(function, at: time, .none)
  }

  @inline(__always)
  private func write(_ kind: UInt64, _ address: UInt64, at time: UInt64) {
    guard let output = records?.buffer else { return }
    output.add(word: time &+ startNanoseconds)
    output.add(word: kind | Self.magic << 3 | UInt64(depth) << 6 | address << 16)
  }

  /// Its own LOST record makes uftrace drop the functions that are open.
  mutating func lost(_ events: UInt64, at time: UInt64) {}

  mutating func end(_ thread: ExportedThread, at time: UInt64) throws {
    endTime = max(endTime, time)
    if let records { try folder.close(records) }
    records = nil
  }
}

// MARK: - What is known at the end

extension UftraceWriter {
  func finish(_ functions: ExportedFunctions) throws {
    try folder.write("task.txt", tasks)
    let map = mapText()
    for image in images { try folder.write("sid-\(image.id).map", map) }
    for window in addresses.windows {
      try folder.write("\(window.fileName).sym", symbolText(window, functions))
    }
    let info = try folder.append("info")
    info.buffer.add(infoHeader())
    info.buffer.add(infoText())
    try folder.close(info)
  }

  /// In the form of /proc/PID/maps. uftrace takes from the stack's place where the kernel's
  /// addresses begin; without it, it takes all for the kernel's.
  private func mapText() -> String {
    var text = ""
    for (index, window) in addresses.windows.enumerated() {
      let start = UftraceAddresses.start(ofWindow: index)
      let end = start + (UftraceAddresses.offset(window.functions.count) | 0xfff) + 1
      text += "\(hexDigits(start, width: 12))-\(hexDigits(end, width: 12)) r-xp 00000000 00:00 0"
      text += String(repeating: " ", count: 26) + window.path + "\n"
    }
    return text + "7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0"
      + String(repeating: " ", count: 26)
      + "[stack]\n"
  }

  /// Addresses within the module, in order; a symbol ends where the next begins.
  private func symbolText(
    _ window: UftraceAddresses.Window, _ functions: ExportedFunctions
  ) -> String {
    var text = "# symbols: \(window.functions.count + 1)\n# path name: \(window.path)\n"
    for (place, index) in window.functions.enumerated() {
      let function = functions.all[Int(index)]
      // C++ names it demangles itself, as its --demangle says.
      let raw = function.rawName.flatMap { $0.hasPrefix("_Z") ? $0 : nil }
      let name = (raw ?? function.label).utf8.map { $0 < 0x20 ? UInt8(ascii: " ") : $0 }
      text += "\(hexDigits(UftraceAddresses.offset(place), width: 16)) T "
      text += String(decoding: name, as: UTF8.self) + "\n"
    }
    let end = UftraceAddresses.offset(window.functions.count)
    return text + "\(hexDigits(end, width: 16)) ? __func_end\n"
  }

  /// 40 bytes: magic, version, the header's size, byte order and word size, features, and which
  /// lines of information follow.
  private func infoHeader() -> [UInt8] {
    // Sessions in task.txt, addresses within modules, a deepest stack.
    let features: UInt64 = 1 << 1 | 1 << 5 | 1 << 6
    // exename, exit_status, cmdline, taskinfo, record_date, uftrace_version.
    let lines: UInt64 = 1 << 0 | 1 << 2 | 1 << 3 | 1 << 7 | 1 << 11 | 1 << 13
    var bytes = Array("Ftrace!\0".utf8)
    for (value, size) in [
      (4, 4), (40, 2), (1, 1), (2, 1), (features, 8), (lines, 8), (UInt64(Self.mostDepth), 8),
    ] { for byte in 0..<size { bytes.append(UInt8(truncatingIfNeeded: value >> (8 * byte))) } }
    return bytes
  }

  private func infoText() -> String {
    let session = recording.session
    let status = session.exitStatus ?? 0
    let command = session.command.joined(separator: " ")
    let program = addresses.windows.first?.path ?? "unknown"
    let elapsed = endTime.quotientAndRemainder(dividingBy: 1_000_000_000)
    let fraction = String(elapsed.remainder).zeroPadded(to: 9)
    return """
      exename:\(oneLine(program))
      exit_status:\(status >= 128 ? status - 128 : status << 8)
      cmdline:nopscope record \(oneLine(command))
      taskinfo:lines=2
      taskinfo:nr_tid=\(threads.count)
      taskinfo:tids=\(threads.map(String.init).joined(separator: ","))
      record_date:\(dateText(session.startRealtimeNanoseconds ?? 0))
      elapsed_time:\(elapsed.quotient).\(fraction) sec
      uftrace_version:exported by nopscope

      """
  }

  private func oneLine(_ text: String) -> String {
    String(
      decoding: text.utf8.prefix(3000).map { $0 < 0x20 ? UInt8(ascii: " ") : $0 }, as: UTF8.self)
  }
}
