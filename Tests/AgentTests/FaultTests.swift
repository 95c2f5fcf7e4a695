// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// What a system refuses to a traced program, and how much of it is traced then.
struct Refusal: Sendable, CustomStringConvertible {
  enum Traced: Sendable { case all, none }

  var how: String
  var traced: Traced
  /// Stands in what nopscope says; nil: nothing but its closing line.
  var line: String?
  var needsRoot = false
  var mode = "blocked"
  var description: String { how }
}

private let notWritable = "its text cannot be written: "
private let refusals = [
  Refusal(how: "nothing", traced: .all),
  Refusal(how: "mprotect", traced: .all),
  Refusal(how: "executable", traced: .none, line: notWritable + "Operation not permitted"),
  Refusal(how: "mdwe", traced: .none, line: notWritable + "Permission denied"),
  Refusal(how: "no-proc", traced: .all, needsRoot: true),
  Refusal(
    how: "neither", traced: .none, line: notWritable + "No such file or directory",
    needsRoot: true),
  Refusal(
    how: "membarrier", traced: .none,
    line: "the processor cannot be synchronised: Operation not permitted"),
  // The recording's memory is a sealed file: without an answer it may be one that becomes shorter.
  Refusal(
    how: "seals", traced: .none,
    line: "it cannot use the recorder's memory: Operation not permitted"),
  // The recorder writes, not the program.
  Refusal(how: "ENOSPC", traced: .all),
  Refusal(how: "EDQUOT", traced: .all),
  Refusal(how: "nearly-full-table", traced: .all),
  Refusal(how: "full-table", traced: .none),
  Refusal(how: "few-descriptors", traced: .all),
  Refusal(how: "no-file-size", traced: .all),
  Refusal(how: "small-file-size", traced: .all),
  Refusal(how: "small-space", traced: .all),
  Refusal(how: "tight-space", traced: .all, mode: "memory"),
  Refusal(how: "full-shm", traced: .all, needsRoot: true),
]

/// A traced program on a system that refuses calls: it goes on, or ends as it would without us.
@Suite struct FaultTests {
  static let isRoot = geteuid() == 0
  /// Without gprof's own file, which a limit would stop.
  static let variant = Variant.patchable

  /// Through a pipe: the limits are the program's, and its output's file is ours.
  private func run(_ words: [String]) throws -> ChildResult {
    try runChild(
      "/bin/sh", ["-c", #"{ "$@"; echo "ended $?"; } | cat"#, "sh"] + words, timeoutSeconds: 100)
  }

  @Test("A program goes on where something is refused", arguments: refusals)
  func refused(one: Refusal) throws {
    if one.needsRoot && !Self.isRoot { return }
    let program = try Program(source: "signals.c", variant: Self.variant).build()
    let plugin = try Program(
      source: "plugin.c", variant: Self.variant, extra: ["-shared", "-fPIC"]
    ).build()
    // Not traced itself: as its child will be, it is a program of its own.
    let launcher = try Program(source: "refuses.c", extra: ["-O1"]).build()
    let words = [launcher, one.how, program, one.mode, plugin]
    let plain = try run(words)
    let folder = try TemporaryFolder.shared.fresh("refused") + "/data"
    let traced = try run(
      [Tools.nopscope, "record", "--notrace", ":mod:refuses", "-o", folder, "--"] + words)
    #expect(traced.ending == .exit(0))
    #expect(traced.output == plain.output)
    #expect(traced.output.contains("ended "))
    let recording = try DecodedRecording(folder)
    let stated = statedCalls(plain.output)
    let found = recording.calls["branch"] ?? 0
    switch one.traced {
    case .all: for (name, count) in stated { #expect(recording.calls[name] == count, "\(name)") }
    case .none: #expect(found == 0)
    }
    let said = traced.standardError.split(separator: "\n")
    if let line = one.line {
      #expect(said.contains { $0.contains(line) }, "\(traced.standardError)")
    }
    // Of the last two: our closing line, and the loader's own word where it cannot start a program.
    #expect(
      said.allSatisfy {
        $0.hasPrefix("nopscope: ") || $0.contains(" armed, ") || $0.hasPrefix(program)
          || (one.how == "full-table" && $0.hasPrefix("ERROR: ld.so: "))
      })
  }

  @Test("Descriptors that a program gets have the numbers that they have alone")
  func descriptors() throws {
    let launcher = try Program(source: "refuses.c").build()
    let program = try Program(source: "looks.c").build()
    for how in ["nothing", "few-descriptors"] {
      let plain = try runChild(launcher, [how, program, "first"])
      let traced = try TracedRun(launcher, [how, program, "first"])
      #expect(plain.output.hasPrefix("3\n"))
      #expect(traced.result.output == plain.output)
      #expect(traced.calls["look"] == 1)
    }
  }

  /// The recorder is killed, or stopped for good, while the program runs. What was in its memory then
  /// is lost, and said.
  @Test("A program outlives its recorder, and its recording is read", arguments: ["KILL", "STOP"])
  func outlives(signal: String) throws {
    let folder = try TemporaryFolder.shared.fresh("outlives")
    let program = try Program(source: "outlives.c").build()
    let plugin = try Program(source: "plugin.c", extra: ["-shared", "-fPIC"]).build()
    let script = """
      "$0" record -o "$1/data" -- "$2" "$1" "$3" & recorder=$!
      while ! [ -e "$1/ready" ]; do sleep 0.02; done
      # The names of its functions are the recorder's to write, in its own time.
      while ! grep -q outlives "$1"/data/*.modules; do sleep 0.02; done
      kill -\(signal) $recorder
      touch "$1/go"
      while ! [ -e "$1/done" ]; do sleep 0.02; done
      cat "$1/done"
      kill -KILL $recorder 2>/dev/null
      wait
      """
    let result = try runChild("/bin/sh", ["-c", script, Tools.nopscope, folder, program, plugin])
    let plain = try TemporaryFolder.shared.fresh("alone")
    try Data().write(to: URL(fileURLWithPath: plain + "/go"))
    #expect(try runChild(program, [plain, plugin]).ending == .exit(0))
    let expected = try String(contentsOfFile: plain + "/done", encoding: .utf8)
    #expect(result.output == expected, "\(result.standardError)")
    let recording = try DecodedRecording(folder + "/data")
    let before = recording.calls["before"] ?? 0
    #expect(before > 0 && before <= 100_000)
    #expect((recording.calls["after"] ?? 0) <= 100_000)
    #expect(recording.complaints == [])
    let report = try runNopscope(["report", folder + "/data"])
    #expect(report.ending == .exit(0))
    #expect(
      report.standardError.contains("0 events lost until now, not closed: the last are not in it\n")
    )
  }
}
