// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CommandOutput
import Filters
import RecordingReader
import TraceAnalysis

struct SlowCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "slow",
    abstract: "Show the slowest single calls of a function, and why they were slow.",
    discussion: """
      Each call is a tree of what it called, with the call of the median duration beside it: what \
      differs is where the time went. Then comes what the other threads were in meanwhile: who held \
      the lock, who had the disk. FUNCTION is a rule as for record --filter; a call inside another \
      chosen one is a part of it.

      EXAMPLES
        nopscope slow handle_request
        nopscope slow 'Pool::*' -n 1 build.data
        nopscope slow handle_request --from 14:03:00 --json

      EXIT STATUS
        0  the recording was read; stderr names the parts that are damaged
        1  it cannot be read, no such call ended, or its tracer only counted calls
        64 the command line is wrong
      """)

  @Argument(help: "The function: a name, or a rule such as 'parse_*'.")
  var function: String

  @OptionGroup var recording: RecordingArguments

  @Option(name: [.customShort("n"), .customLong("count")], help: "How many of the slowest calls.")
  var count = 3

  @Option(help: "Leave out of the trees what took less than this percentage of the call.")
  var minimum = 1.0

  @Flag(help: "Write one JSON document, schema nopscope.slow/1.")
  var json = false

  @Flag(name: .customLong("no-pager"), help: "Write to the terminal without a pager.")
  var noPager = false

  private static let most = 1000

  func validate() throws {
    guard (1...Self.most).contains(count) else {
      throw ValidationError("-n \(count): expected 1 to \(Self.most)")
    }
    _ = try rules()
  }

  private func rules() throws -> [FilterRule] {
    do {
      return try FilterRule.parse(function)
    } catch {
      throw ValidationError("\(error)")
    }
  }

  func run() throws {
    let opened = try recording.open()
    var filter = try recording.filter(opened)
    if !filter.selectsCalls { try recording.requireCalls(opened, for: "slow") }
    // What is shown of a call is all of it: short callees too.
    let least = filter.minimum ?? 0
    filter.minimum = nil
    tellLeftOut(opened)
    recording.tellChosen()
    let progress = Progress("reading \(recording.directory)")
    let slow = SlowCalls(
      of: try rules(), count: count, in: opened, choosing: filter, progress: progress.show)
    progress.finish()
    complainOf(slow.problems, in: recording.directory)
    let calls = slow.slowest.filter { $0.nanoseconds >= least }
    guard !calls.isEmpty else {
      complain(
        "\(recording.directory): no call of \(function) has ended: nopscope report "
          + "\(recording.directory) lists the functions")
      throw ExitCode(1)
    }
    if json {
      try writeJSON(SlowDocument(slow, calls, opened), schema: "slow")
    } else {
      let text = SlowText(
        slow: slow, calls: calls, recording: opened, title: function, minimum: minimum / 100)
      let pager = Pager(isWanted: !noPager)
      var out = PagedText(pager)
      text.write(to: &out, width: outputWidth)
      out.flush()
      pager.finish()
    }
  }
}
