// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// What cannot be recorded: one clear line, the right status, and nothing left behind.
@Suite struct RecordBadInputTests {
  private func fails(
    _ arguments: [String], _ status: Int32, _ message: String,
    at place: SourceLocation = #_sourceLocation
  ) throws {
    let folder = try TemporaryFolder.shared.fresh("bad")
    let result = try runNopscope(
      ["record", "-o", folder + "/data"] + arguments, environment: ["XDG_CACHE_HOME": folder])
    #expect(result.ending == .exit(status), sourceLocation: place)
    #expect(result.output == "", sourceLocation: place)
    #expect(result.standardError.contains(message), sourceLocation: place)
    #expect(result.standardError.hasPrefix("nopscope: "), sourceLocation: place)
    #expect(result.standardError.split(separator: "\n").count == 1, sourceLocation: place)
    let exists = FileManager.default.fileExists(atPath: folder + "/data")
    #expect(!exists, sourceLocation: place)
  }

  private func file(_ contents: [UInt8], mode: mode_t = 0o755) throws -> String {
    let path = try TemporaryFolder.shared.fresh("file") + "/program"
    try ProgramFile.write(contents, to: path, mode: mode)
    return path
  }

  private func head(_ changes: [Int: UInt8]) throws -> String {
    let path = try Fixture(.gcc, ["-O2"], as: .positionIndependentExecutable).build()
    var bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
    for (index, byte) in changes { bytes[index] = byte }
    return try file(bytes)
  }

  @Test("what is not there is 127, what is not executable 126")
  func missing() throws {
    try fails(["/no/such/program"], 127, "/no/such/program: no such program")
    try fails(["no-such-program"], 127, "no-such-program: no such program in PATH")
    try fails(["/tmp"], 126, "it is a directory")
    try fails([file([1], mode: 0o644)], 126, "cannot be run: Permission denied")
    try fails([file(Array("#!/no/such/shell\n".utf8))], 127, "/no/such/shell: no such program")
    try fails([""], 127, "'': no such program")
    try fails(["/dev/null"], 126, "it is no regular file")
    try fails(["/dev/null/program"], 127, "/dev/null/program: no such program")
  }

  @Test("what is no program is 125")
  func noProgram() throws {
    try fails([file(Array("hello\n".utf8))], 125, "found a file that begins with 68 65 6c 6c")
    try fails([file([])], 125, "found an empty file")
    try fails([file([0x7f, 0x45, 0x4c, 0x46])], 125, "truncated or damaged")
    try fails([head([4: 1])], 125, "found an x32 one")
    try fails([head([4: 1, 18: 3])], 125, "found a 32-bit one")
    try fails([head([18: 183])], 125, "found code for AArch64 (machine 183)")
    try fails([head([0x20: 0xff, 0x22: 0xff])], 125, "truncated or damaged")
    try fails([head([4: 1, 18: 40])], 125, "found a 32-bit one")
    try fails([head([5: 2])], 125, "expected a 64-bit x86-64 program, found")
    try fails([head([16: 1])], 126, "an ELF file of type 1, not a program")
  }

  @Test("a script is followed to a program; where it leads to none, one line says so")
  func scripts() throws {
    try fails(
      [file(Array("#!\n".utf8))], 125, "expected an interpreter's path behind #!, found none")
    try fails([file(Array("#! \t \nhello\n".utf8))], 125, "behind #!, found none")
    try fails([file(Array("#!/tmp\n".utf8))], 126, "/tmp: cannot be run: it is a directory")
    let loop = try TemporaryFolder.shared.fresh("loop") + "/loop"
    try ProgramFile.write("#!\(loop)\n".utf8, to: loop)
    try fails([loop], 125, "a script whose interpreters are scripts, too many")
    let fixed = try Fixture(.gcc, ["-O2"], as: .staticExecutable).build()
    try fails([file(Array("#!\(fixed) -x\n".utf8))], 125, "\(fixed): statically linked")
  }

  @Test("an ELF program cut anywhere is refused before it runs, or is whole to the loader")
  func truncated() throws {
    let whole = [UInt8](
      try Data(
        contentsOf: URL(
          fileURLWithPath: Fixture(.gcc, ["-O2"], as: .positionIndependentExecutable).build())))
    for length in [1, 4, 16, 20, 63] {
      let message = length < 4 ? "expected an ELF program or a script" : "truncated or damaged"
      try fails([file(Array(whole.prefix(length)))], 125, message)
    }
    for length in [64, 200, 500] {
      try fails([file(Array(whole.prefix(length)))], 125, "truncated or damaged")
    }
    for length in [1024, 4096, 8192, 12_000] where length < whole.count {
      try fails(
        [file(Array(whole.prefix(length)))], 125,
        "a truncated ELF file: expected ")
    }
  }

  @Test("a static program is 125: nothing can be preloaded")
  func isStatic() throws {
    let path = try Fixture(.gcc, ["-O2"], as: .staticExecutable).build()
    try fails([path], 125, "statically linked (no PT_INTERP)")
  }

  @Test(
    "a setuid program is 125",
    .enabled(if: geteuid() == 0, "only root may give files away"))
  func isPrivileged() throws {
    let path = try head([:])
    #expect(chown(path, 65534, 65534) == 0)
    #expect(chmod(path, 0o4755) == 0)
    try fails([path], 125, "setuid, runs as user 65534")
    #expect(chmod(path, 0o2755) == 0)
    try fails([path], 125, "setgid, runs as group 65534")
  }

  @Test("an output that exists and is no recording is refused")
  func output() throws {
    let folder = try TemporaryFolder.shared.fresh("output")
    let program = try Fixture(.gcc, ["-O2", "-pg"], as: .positionIndependentExecutable).build()
    let cases = [
      (folder, "exists and is no recording"), (folder + "/file", "exists and is no recording"),
      (folder + "/no/data", "No such file or directory"), ("/proc/data", "cannot make"),
      ("/dev/full", "exists and is no recording"), ("/", "is no name for a new directory"),
    ]
    try Data("keep".utf8).write(to: URL(fileURLWithPath: folder + "/file"))
    for (path, message) in cases {
      let result = try runNopscope(["record", "-o", path, program])
      #expect(result.ending == .exit(125))
      #expect(result.standardError.contains(message))
      #expect(result.standardError.split(separator: "\n").count == 1)
    }
    #expect(try String(contentsOfFile: folder + "/file", encoding: .utf8) == "keep")
  }

  @Test(
    "a wrong command line is 64",
    arguments: [
      [], ["--"], ["--nope", "ls"], ["--tracer", "all", "ls"], ["--filter", "f:traceoff", "ls"],
      ["--filter", "", "ls"], ["--threshold", "10", "ls"], ["--threshold", "-1us", "ls"],
      ["--overwrite", "1", "ls"], ["--overwrite", "many", "ls"], ["--max-depth", "-1", "ls"],
      ["--tracer", "function", "--max-depth", "3", "ls"],
      ["--tracer", "hits", "--graph", "main", "ls"],
      ["--tracer", "callgraph", "--threshold", "1us", "ls"],
      ["--tracer", "profile", "--overwrite", "1M", "ls"],
      ["--tracer", "profile", "--max-depth", "3", "ls"],
      ["--tracer", "callgraph", "--graph", "main", "ls"],
    ])
  func usage(arguments: [String]) throws {
    #expect(try runNopscope(["record"] + arguments).ending == .exit(64))
  }
}
