// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// Every file of a recording in every state that a file can be in: each command ends, keeps what is
/// whole, and says in one line which file it is.
@Suite struct DamagedFilesTests {
  private static let base: UInt64 = 1_000_000
  private static let buildID = "00112233445566778899aabbccddeeff00112233"

  static let files = [
    "session.json", "processes", "4711-0.events", "4711-0.modules", "symbols/\(buildID)", "symbols",
  ]

  enum Damage: String, CaseIterable, Sendable {
    case missing, empty, truncated, garbage, huge, directory, dangling, loop, device, fifo, socket
  }

  private static func recording() throws -> String {
    let chunk = SyntheticChunk { encoder in
      encoder.entry(0, at: base)
      encoder.call(1, from: base + 10, to: base + 1510)
      encoder.exit(at: base + 20_000)
    }
    let module = SyntheticModule("/bin/x", functions: ["main", "leaf"])
    let process = SyntheticProcess(modules: [module], chunks: [chunk])
    return try SyntheticRecording(processes: [process]).write()
  }

  private static func inflict(_ damage: Damage, on path: String) throws {
    let whole = (try? Data(contentsOf: URL(fileURLWithPath: path))) ?? Data()
    try FileManager.default.removeItem(atPath: path)
    func put(_ data: Data) throws { try data.write(to: URL(fileURLWithPath: path)) }
    switch damage {
    case .missing: break
    case .empty: try put(Data())
    case .truncated: try put(whole.prefix(whole.count / 2))
    case .garbage:
      var generator = SeededGenerator(seed: 1)
      try put(Data((0..<10_000).map { _ in UInt8.random(in: 0...255, using: &generator) }))
    case .huge:
      try put(whole)
      truncate(path, 1 << 40)
    case .directory: #expect(mkdir(path, 0o755) == 0)
    case .dangling: #expect(symlink("/no/such/file", path) == 0)
    case .loop: #expect(symlink(path, path) == 0)
    case .device: #expect(symlink("/dev/zero", path) == 0)
    case .fifo: #expect(mkfifo(path, 0o600) == 0)
    case .socket: #expect(mknod(path, S_IFSOCK | 0o600, 0) == 0)
    }
  }

  static let cases = files.flatMap { file in Damage.allCases.map { (file, $0) } }

  @Test("each command ends and names the file", arguments: cases)
  func ends(file: String, damage: Damage) throws {
    let path = try Self.recording()
    try Self.inflict(damage, on: path + "/" + file)
    for command in [
      ["report"], ["report", "--uncalled"], ["replay"], ["graph"], ["info"],
      ["export", "--format", "chrome"],
    ] {
      let result = try runNopscope(command + [path], timeoutSeconds: 60)
      #expect([0, 1].contains(result.exitStatus), "\(command): \(result.ending)")
      let lines = result.standardError.split(separator: "\n")
      let complaints = lines.filter { $0.hasPrefix("nopscope: ") }
      #expect(complaints.count < 12)
      // At most the closing line is none.
      #expect(lines.count - complaints.count <= 1, "\(result.standardError)")
      // A recording without a call is status 1 too, and what is damaged is named.
      let isEmpty = command == ["report"] && complaints.count > 1
      if result.exitStatus == 1 { #expect(complaints.count == 1 || isEmpty) }
    }
    let told = try runNopscope(["info", path])
    let name = file.hasSuffix(".events") && damage == .missing ? "PID-N.events" : file
    let isTold = (told.standardError + told.output).contains(name)
    // What stands in front of a hole is whole; symbols are not asked for where no name is shown.
    let isHarmless = damage == .huge || file.hasPrefix("symbols")
    #expect(isTold || isHarmless, "\(told.standardError)")
    let report = try runNopscope(["report", path])
    if damage == .huge, file != "symbols" {
      #expect(report.standardError == "2 calls of 2 functions in 1 thread; 0 events lost\n")
      #expect(report.output.contains("  leaf\n"))
    } else if file.hasPrefix("symbols") {
      #expect(report.standardError.contains("symbols/"), "\(report.standardError)")
    }
  }

  struct Line: Sendable, CustomStringConvertible {
    var file: String
    var damage: Damage
    var text: String
    var description: String { "\(file) \(damage)" }
  }

  @Test("what is said is what, where, expected and found", arguments: lines)
  func says(line: Line) throws {
    let path = try Self.recording()
    try Self.inflict(line.damage, on: path + "/" + line.file)
    let result = try runNopscope(["report", path])
    let wanted = "nopscope: " + line.text.replacingOccurrences(of: "DIR", with: path) + "\n"
    #expect(result.standardError.contains(wanted), "\(result.standardError)")
  }

  static let lines: [Line] = [
    Line(
      file: "session.json", damage: .garbage,
      text: "DIR: session.json: expected the JSON of a session, found something else"),
    Line(
      file: "session.json", damage: .directory,
      text: "DIR: session.json: expected a regular file, found something else: not used"),
    Line(
      file: "session.json", damage: .fifo,
      text: "DIR: session.json: expected a regular file, found something else: not used"),
    Line(
      file: "processes", damage: .fifo,
      text: "DIR: processes: expected a regular file, found something else: not used"),
    Line(
      file: "4711-0.events", damage: .missing,
      text: "DIR: expected a recording, found no PID-N.events file: did the program start, and is "
        + "it instrumented? See nopscope doctor PROGRAM"),
    Line(
      file: "4711-0.events", damage: .empty,
      text: "DIR: 4711-0.events: 0 bytes, shorter than its header: truncated"),
    Line(
      file: "4711-0.events", damage: .device,
      text: "DIR: DIR/4711-0.events: expected a regular file, found something else"),
    Line(
      file: "4711-0.events", damage: .loop,
      text: "DIR: DIR/4711-0.events: cannot open: Too many levels of symbolic links"),
    Line(
      file: "4711-0.modules", damage: .missing,
      text: "DIR: 4711-0.modules: missing: functions have no names"),
    Line(
      file: "4711-0.modules", damage: .directory,
      text: "DIR: 4711-0.modules: expected a regular file, found something else: functions have no "
        + "names"),
    Line(
      file: "symbols/\(buildID)", damage: .missing,
      text: "DIR: symbols/\(buildID): missing: no names for /bin/x"),
    Line(
      file: "symbols/\(buildID)", damage: .fifo,
      text: "DIR: symbols/\(buildID): expected a regular file, found something else: no names for "
        + "/bin/x"),
    Line(
      file: "symbols/\(buildID)", damage: .empty,
      text: "DIR: symbols/\(buildID): expected \"nopscope.symbols 1 COUNT PATH\" in line 1: no "
        + "names"),
  ]

  @Test("a recording of another version is one line")
  func otherVersion() throws {
    let path = try Self.recording()
    let name = path + "/4711-0.events"
    var bytes = try Data(contentsOf: URL(fileURLWithPath: name))
    bytes[8] = 99
    try bytes.write(to: URL(fileURLWithPath: name))
    for command in [["report"], ["replay"], ["graph"], ["info"], ["export", "--format", "chrome"]] {
      let result = try runNopscope(command + [path])
      #expect(result.ending == .exit(1))
      #expect(result.output == "")
      #expect(result.standardError.hasPrefix("nopscope: \(name): expected version "))
      #expect(
        result.standardError.hasSuffix(
          " of the recording's format, found 99: read it with the nopscope that wrote it\n"))
    }
  }
}
