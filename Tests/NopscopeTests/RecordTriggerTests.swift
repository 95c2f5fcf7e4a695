// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// What is wrong with the options that begin and end a recording or take snapshots is said in one
/// line, before the program runs.
@Suite struct RecordTriggerTests {
  struct Wrong: Sendable, CustomStringConvertible {
    var options: [String]
    var text: String
    var description: String { options.joined(separator: " ") }

    init(_ options: String..., says text: String) {
      self.options = options
      self.text = text
    }
  }

  static let wrong: [Wrong] = [
    Wrong("--delay", "5", says: "The value '5' is invalid for '--delay <time>'"),
    Wrong("--duration", "0s", says: "--duration: expected more than 0, as in 10s"),
    Wrong(
      "--start-on", "!f", says: "--start-on: expected a function, as in 'handle_*', found '!f'"),
    Wrong("--stop-on", "!f", says: "--stop-on: expected a function, as in 'handle_*', found '!f'"),
    Wrong("--stop-on", "", says: "filter '': expected a function's name"),
    Wrong(
      "--snapshot-on", "f>5ms",
      says: "--snapshot-on: a snapshot is of the last calls: add --overwrite SIZE, as in "
        + "--overwrite 16M"),
    Wrong(
      "--snapshot-signal", "USR2",
      says: "--snapshot-signal: a snapshot is of the last calls: add --overwrite SIZE"),
    Wrong(
      "--overwrite", "1M", "--snapshot-on", "f",
      says: "--snapshot-on: expected FUNCTION>TIME, as in 'handle_request>5ms', found 'f'"),
    Wrong(
      "--overwrite", "1M", "--snapshot-on", "f>5",
      says: "--snapshot-on: expected FUNCTION>TIME, as in 'handle_request>5ms', found 'f>5'"),
    Wrong(
      "--overwrite", "1M", "--snapshot-on", ">5ms",
      says: "--snapshot-on: expected FUNCTION>TIME, as in 'handle_request>5ms', found '>5ms'"),
    Wrong(
      "--overwrite", "1M", "--snapshot-on", "!f>5ms",
      says: "--snapshot-on: expected a function, as in 'handle_*', found '!f'"),
    Wrong(
      "--overwrite", "1M", "--snapshot-signal", "KILL",
      says: "--snapshot-signal: expected USR1 or USR2, found 'KILL'"),
    Wrong(
      "--overwrite", "1M", "--snapshot-signal", "USR2", "--snapshots", "0",
      says: "--snapshots: expected at least 1, found 0"),
    Wrong(
      "--snapshots", "4",
      says: "--snapshots: nothing takes one: add --snapshot-on or --snapshot-signal"),
    Wrong(
      "--overwrite", "1M", "--tracer", "function", "--snapshot-on", "f>5ms",
      says: "--snapshot-on: only the tracer function_graph has this option, and --tracer is "
        + "function"),
    Wrong(
      "--overwrite", "1M", "--snapshot-on", "f>5ms", "--threshold", "1us",
      says: "--snapshot-on cannot be combined with --threshold"),
    Wrong(
      "--overwrite", "1M", "--snapshot-on", "f>5ms", "--max-depth", "3",
      says: "--snapshot-on cannot be combined with --max-depth"),
    Wrong(
      "--overwrite", "1M", "--snapshot-on", "f>5ms", "--graph", "g",
      says: "--snapshot-on cannot be combined with --graph"),
  ]

  static let wrongArguments: [Wrong] = [
    Wrong("--args", "", says: "filter '': expected a function's name"),
    Wrong(
      "--args", "f(int a, flaot b)",
      says: "--args 'f(int a, flaot b)': column 10: expected a type such as int, uint64_t, size_t, "
        + "bool, double, char * or void *, found 'flaot'"),
    Wrong(
      "--args", "f(int a", says: "--args 'f(int a': column 8: expected ',' or ')', found the end"),
    Wrong(
      "--args", "f(int) => int",
      says: "--args 'f(int) => int': column 8: expected the end, or '->' and a type, found '='"),
    Wrong(
      "--args", "(int)", says: "--args '(int)': column 1: expected a function's name before '('"),
    Wrong(
      "--args", "!f(int)",
      says: "--args '!f(int)': column 1: expected a function's name: a rule with '!' has no "
        + "parameters, found '!'"),
    Wrong(
      "--args", "f", "--tracer", "function",
      says: "--args: only the tracer function_graph has this option, and --tracer is function"),
    Wrong("--args", "f", "--max-depth", "3", says: "--args cannot be combined with --max-depth"),
    Wrong("--args", "f", "--graph", "g", says: "--args cannot be combined with --graph"),
    Wrong(
      "--args", "f", "--threshold", "1us", says: "--args cannot be combined with --threshold"),
  ]

  @Test("a wrong line is 64, and nothing runs", arguments: wrong + wrongArguments)
  func refused(one: Wrong) throws {
    let folder = try TemporaryFolder.shared.fresh("trigger")
    let result = try runNopscope(
      ["record", "-o", folder + "/data"] + one.options
        + ["--", "/bin/sh", "-c", "echo ran > \(folder)/ran"])
    #expect(result.ending == .exit(64))
    #expect(result.output == "")
    #expect(result.standardError.contains(one.text), "\(result.standardError)")
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == [])
  }

  @Test("info and the tables say what the options left out")
  func told() throws {
    let program = try Fixture(
      .gcc, ["-O1", "-pg"], as: .positionIndependentExecutable,
      source: "__attribute__((noinline)) void f(void) {} int main(void) { f(); f(); return 0; }"
    ).build()
    let data = try TemporaryFolder.shared.fresh("trigger") + "/data"
    let result = try runNopscope(
      [
        "record", "--start-on", "main", "--stop-on", "f", "--duration", "100s", "-o", data,
        program,
      ])
    #expect(result.ending == .exit(0))
    let report = try runNopscope(["report", data])
    #expect(report.standardError.contains("what was called before 'main' is not here\n"))
    #expect(report.standardError.contains("what was called after the first 'f' is not here\n"))
    #expect(report.standardError.contains(": the recording ended 100.000 s after it began\n"))
    let info = try runNopscope(["info", data])
    #expect(
      info.output.contains("--start-on 'main' --stop-on 'f' --duration 100000000000ns"))
  }
}
