// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import RecordingSchema

extension Tracer: ExpressibleByArgument {}

/// `16M`: bytes, with K, M or G for powers of 1024.
struct ByteSize: ExpressibleByArgument {
  var bytes: UInt64

  init?(argument: String) {
    let factors: [Character: UInt64] = ["K": 1 << 10, "M": 1 << 20, "G": 1 << 30]
    var digits = argument[...]
    var factor: UInt64 = 1
    if let last = argument.last, let known = factors[Character(last.uppercased())] {
      factor = known
      digits = argument.dropLast()
    }
    guard let number = UInt64(digits) else { return nil }
    let (bytes, overflow) = number.multipliedReportingOverflow(by: factor)
    if overflow { return nil }
    self.bytes = bytes
  }
}

/// The options of every command that makes a recording: see `RecordSettings`.
struct RecordArguments: ParsableArguments {
  @Option(
    name: [.short, .customLong("output")],
    help: "The directory to make. An earlier recording there moves to DIR.old.",
    completion: .directory)
  var output = RecordSettings().output

  @Option(help: "function_graph, function, callgraph, profile or hits.")
  var tracer = RecordSettings().tracer

  @Option(
    help: ArgumentHelp(
      "Trace only these functions: 'parse_*', '!parse_comment', ':mod:libz', 'deflate*:mod:libz'.",
      valueName: "rule"))
  var filter: [String] = []

  @Option(help: ArgumentHelp("Never trace these functions.", valueName: "rule"))
  var notrace: [String] = []

  @Option(
    help: ArgumentHelp("Trace only what these functions call.", valueName: "function"))
  var graph: [String] = []

  @Option(
    name: .customLong("args"),
    help: ArgumentHelp(
      "Record these functions' arguments and results, by their DWARF (-g): 'handle_*'; or spelled out: "
        + "'handle(int id, char *name) -> int'.", valueName: "function"))
  var arguments: [String] = []

  @Option(
    name: .customLong("thread"),
    help: ArgumentHelp(
      "Record only threads of this name: 'worker*', '!worker-9'. The kernel keeps at most 15 bytes "
        + "of a name.", valueName: "glob"))
  var threads: [String] = []

  @Option(help: "Trace only calls up to this depth. 0: no limit.")
  var maxDepth = RecordSettings().maxDepth

  @Option(
    help: ArgumentHelp("Leave out calls shorter than this: 10us, 1.5ms.", valueName: "time"))
  var threshold: TimeSpan?

  @Option(
    help: ArgumentHelp(
      "Keep only the last SIZE bytes of each thread: 16M.", valueName: "size"))
  var overwrite: ByteSize?

  @Option(
    help: ArgumentHelp(
      "Begin so long after the program's start: 10s. Until then nothing is recorded.",
      valueName: "time"))
  var delay: TimeSpan?

  @Option(
    help: ArgumentHelp(
      "End so long after the recording began: 10s. The program runs on.", valueName: "time"))
  var duration: TimeSpan?

  @Option(
    help: ArgumentHelp(
      "Begin when this function is entered, in any thread of any process: 'handle_*'.",
      valueName: "function"))
  var startOn: [String] = []

  @Option(
    help: ArgumentHelp(
      "End when this function is entered: its entry is the last. The program runs on.",
      valueName: "function"))
  var stopOn: [String] = []

  @Option(
    help: ArgumentHelp(
      "Keep the last calls of all threads as DIR/snapshot-1 when a call takes longer: "
        + "'handle_request>5ms'. Needs --overwrite.", valueName: "condition"))
  var snapshotOn: String?

  @Option(
    help: ArgumentHelp(
      "Keep them when nopscope gets this signal: USR1 or USR2. Needs --overwrite.",
      valueName: "signal"))
  var snapshotSignal: String?

  @Option(help: ArgumentHelp("Take no more snapshots than this: 10.", valueName: "count"))
  var snapshots: Int?

  @Flag(
    name: .customLong("no-sched"),
    help: "Do not record when threads were off the CPU: no columns CPU and WAIT.")
  var noSwitches = false

  @Flag(
    name: [.customShort("q"), .customLong("quiet")],
    help: "Write no closing line: on stderr is only what went wrong, and the program's own.")
  var isQuiet = false

  @Flag(
    name: .customLong("require-sites"),
    help: "End with status 125 if no function could be traced.")
  var requiresSites = false

  func validate() throws { try settings.validate() }

  var settings: RecordSettings {
    RecordSettings(
      output: output, tracer: tracer, filter: filter, notrace: notrace, graph: graph,
      arguments: arguments, threads: threads, maxDepth: maxDepth, threshold: threshold,
      overwrite: overwrite,
      noSwitches: noSwitches, delay: delay,
      duration: duration, startOn: startOn, stopOn: stopOn, snapshotOn: snapshotOn,
      snapshotSignal: snapshotSignal, snapshots: snapshots, isQuiet: isQuiet,
      requiresSites: requiresSites)
  }
}
