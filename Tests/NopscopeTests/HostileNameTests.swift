// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// Names that would drive a terminal: every command shows them as text, and JSON has them exactly.
@Suite struct HostileNameTests {
  /// Clears the screen, sets the title, turns the rest of the line round.
  static let evil = "\u{1b}[2J\u{1b}]0;gone\u{07}\u{202e}evil"
  static let shown = #"\x1b[2J\x1b]0;gone\x07\u{202e}evil"#

  /// `shown`: what stands in its place; nothing where the name need not be told.
  private func expectHarmless(
    _ result: ChildResult, _ shown: String = shown, at place: SourceLocation = #_sourceLocation
  ) {
    let text = result.output + result.standardError
    if !shown.isEmpty { #expect(text.contains(shown), sourceLocation: place) }
    for control in ["\u{1b}", "\u{07}", "\u{202e}"] {
      #expect(!text.contains(control), sourceLocation: place)
    }
  }

  private func recording() throws -> String {
    let path = try TemporaryFolder.shared.fresh("evil") + "/\(Self.evil)"
    let module = SyntheticModule(
      "/lib/\(Self.json)", functions: [Self.evil, "leaf"])
    let chunk = SyntheticChunk { encoder in
      encoder.entry(0, at: 1_000_001)
      encoder.call(1, from: 1_000_002, to: 1_000_009)
      encoder.exit(at: 1_000_020)
    }
    var process = SyntheticProcess(
      modules: [module], chunks: [chunk.of(thread: 4711, serial: 0, name: Self.evil)])
    process.program = "/bin/\(Self.evil)"
    var recording = SyntheticRecording(processes: [process])
    recording.command = ["./\(Self.evil)", "argument\n\(Self.evil)"]
    try FileManager.default.createDirectory(
      atPath: path, withIntermediateDirectories: false)
    try recording.write(to: path)
    return path
  }

  /// As it stands inside a JSON text.
  private static let json = #"\u001b[2J\u001b]0;gone\u0007\u202eevil"#

  @Test(
    "of a recording: functions, threads, modules, programs, words and its own path",
    arguments: ["report", "replay", "graph", "info"])
  func recordings(command: String) throws {
    let path = try recording()
    let result = try runNopscope([command, path])
    #expect(result.ending == .exit(0))
    expectHarmless(result)
    if command == "replay" {
      expectHarmless(try runNopscope(["replay", "--tracer", "function", path]))
    } else {
      let document = try runNopscope([command, path, "--json"])
      let object = try jsonObject(document.standardOutput)
      // Exact after decoding; written with escapes alone.
      #expect("\(object)".contains("evil"))
      #expect(!document.output.contains("\u{1b}"))
      let names = try strings(in: object)
      #expect(names.contains { $0.contains(Self.evil) }, "\(names)")
    }
    // Damage is reported with the same names.
    let events = path + "/4711-0.events"
    #expect(truncate(events, 4200) == 0)
    let damaged = try runNopscope([command, path])
    #expect(!(damaged.output + damaged.standardError).contains("\u{1b}"))
    let missing = try runNopscope([command, "--thread", Self.evil + "?", path])
    #expect(!(missing.output + missing.standardError).contains("\u{1b}"))
  }

  private func strings(in value: Any) throws -> [String] {
    switch value {
    case let text as String: [text]
    case let list as [Any]: try list.flatMap(strings)
    case let object as [String: Any]: try object.values.flatMap(strings)
    default: []
    }
  }

  private func program(_ flags: [String], as product: Fixture.Product) throws -> String {
    let built = try Fixture(.gcc, flags, as: product).build()
    let path = try TemporaryFolder.shared.fresh("evil") + "/\(Self.evil)"
    try ProgramFile.copy(built, to: path)
    return path
  }

  @Test("of a program that is recorded, and of one that cannot be")
  func records() throws {
    let path = try program(["-O1", "-pg"], as: .positionIndependentExecutable)
    let folder = try TemporaryFolder.shared.fresh("evil")
    let data = folder + "/" + Self.evil
    let recorded = try runNopscope(["record", "-o", data, "--", path])
    expectHarmless(recorded, "")
    #expect(try recorded.ending == runChild(path).ending)
    expectHarmless(try runNopscope(["info", data]))
    // No call site: what is said names the file.
    let plain = try program(["-O1"], as: .positionIndependentExecutable)
    expectHarmless(try runNopscope(["record", "-o", folder + "/plain", "--", plain]))
    expectHarmless(try runNopscope(["record", "-o", "/no/" + Self.evil, "--", path]))
    expectHarmless(try runNopscope(["record", "/no/" + Self.evil]))
    expectHarmless(try runNopscope(["/no/" + Self.evil]))
  }

  @Test("of files that are looked at")
  func files() throws {
    let path = try program(["-O1", "-pg"], as: .positionIndependentExecutable)
    expectHarmless(try runNopscope(["doctor", path]))
    expectHarmless(try runNopscope(["doctor", "/no/" + Self.evil]))
    expectHarmless(try runNopscope(["sites", path]), "")
    expectHarmless(try runNopscope(["recordmcount", path]))
    expectHarmless(try runNopscope(["sites", "/no/" + Self.evil]))
    let library = try program(["-O1", "-pg"], as: .sharedObject)
    expectHarmless(try runNopscope(["demo", "--library", library, "--call", "nothing"]))
    expectHarmless(try runNopscope(["demo", "--library", library, "--call", Self.evil]))
    expectHarmless(
      try runNopscope(["export", "--format", "folded", "-o", "/no/" + Self.evil, recording()]))
  }

  @Test("of a library that is played with")
  func demo() throws {
    let source = """
      __attribute__((noinline)) int evil(void) { return 1; }
      long run(void) { long sum = 0; for (int i = 0; i < 10; i++) sum += evil(); return sum; }
      """
    let built = try Fixture(.gcc, ["-O1", "-pg"], source: source).build()
    let path = try TemporaryFolder.shared.fresh("evil") + "/\(Self.evil).so"
    try ProgramFile.copy(built, to: path)
    let result = try runNopscope(["demo", "--library", path, "--call", "run"])
    expectHarmless(result)
    let document = try runNopscope(["demo", "--library", path, "--call", "run", "--json"])
    let names = try strings(in: try jsonObject(document.standardOutput))
    #expect(names.contains { $0.contains(Self.evil) }, "\(names)")
  }

  @Test("of a process whose text is audited")
  func audit() throws {
    // A process that has it in its list of modules, and one byte of it changed.
    let source = """
      #include <sys/mman.h>
      void spare(void) {}
      __attribute__((constructor)) static void change(void) {
        char *place = (char *)spare;
        mprotect((void *)((long)place & ~4095), 4096, PROT_READ | PROT_WRITE | PROT_EXEC);
        *place = 0x90;
      }
      """
    let built = try Fixture(.gcc, ["-O1"], source: source).build()
    let library = try TemporaryFolder.shared.fresh("evil") + "/\(Self.evil)"
    try ProgramFile.copy(built, to: library)
    let script = """
      LD_PRELOAD="$1" sleep 30 & child=$!
      until grep -q evil /proc/$child/maps; do sleep 0.02; done
      "$0" audit $child
      status=$?
      kill $child
      exit $status
      """
    let result = try runChild("/bin/sh", ["-c", script, Tools.nopscope, library])
    #expect(result.ending == .exit(1))
    expectHarmless(result)
  }
}
