// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CommandOutput
import Glibc
import Soak
import TextFormat

struct SoakCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "soak",
    abstract: "Do everything at random, under load, until a check fails.",
    discussion: """
      In turns: a child patches itself live, while libraries come and go, threads call them, \
      others fork, and a signal comes each millisecond; and programs are recorded that load, \
      unload, fork, exec and are killed at random moments, the recording being compared with \
      their own counts. Every decision comes from the seed, which is printed; the timing does \
      not. A child ends with an audit of all text. The first deviation ends the soak.

      EXAMPLES
        nopscope-bench soak 60
        nopscope-bench soak 1 --seed 4711

      EXIT STATUS
        0  nothing deviated
        1  something did; it is printed, with the seed
        64 the command line is wrong
      """)

  @Argument(help: "How long, in minutes.")
  var minutes: Double?

  @Option(help: "The seed; by default one is drawn.")
  var seed: UInt64?

  @Option(help: ArgumentHelp("How long, in seconds.", visibility: .hidden))
  var seconds: Int?

  @Option(help: ArgumentHelp("Run as a turn's child, with this folder.", visibility: .hidden))
  var child: String?

  func validate() throws {
    if minutes == nil, seconds == nil { throw ValidationError("expected a number of minutes") }
    if let minutes, !(minutes > 0 && minutes <= 100_000) {
      throw ValidationError("MINUTES: expected more than 0 and at most 100000, found \(minutes)")
    }
  }

  func run() throws {
    let length = seconds ?? Int((minutes ?? 0) * 60)
    if let child {
      return try runChild(Soak.Turn(folder: child, seed: seed ?? 0, seconds: length))
    }
    let seed = seed ?? UInt64.random(in: 1...999_999_999)
    write("seed \(seed)\n", to: 1)
    let result: SoakResult
    do {
      let rig = try ownPath()
      let nopscope = try besides(rig, "nopscope")
      result = try Soak(
        seconds: length, seed: seed, rig: rig, nopscope: nopscope,
        say: Progress("nopscope-bench soak", countsSeconds: false).say
      ).run()
    } catch let error as SoakDeviation {
      complain("\(error)")
      throw ExitCode(1)
    }
    printTable(result)
    if let deviation = result.deviation {
      for line in "seed \(seed): \(deviation)".split(separator: "\n") { complain("\(line)") }
      throw ExitCode(1)
    }
  }

  private func ownPath() throws -> String {
    guard let path = realpath("/proc/self/exe", nil) else {
      complain("/proc/self/exe: \(String(cString: strerror(errno)))")
      throw ExitCode(1)
    }
    defer { free(path) }
    return String(cString: path)
  }

  /// The program of this name in the folder of `path`.
  private func besides(_ path: String, _ name: String) throws -> String {
    let folder = path.prefix(through: path.lastIndex(of: "/") ?? path.startIndex)
    let found = folder + name
    if access(String(found), X_OK) == 0 { return String(found) }
    complain("\(found): not there: the soak records programs with it (scripts/soak builds it)")
    throw ExitCode(1)
  }

  private func runChild(_ turn: Soak.Turn) throws {
    do { try turn.run() } catch {
      complain("\(error)")
      throw ExitCode(1)
    }
  }

  private func printTable(_ result: SoakResult) {
    let rows = result.done.map { (grouped($0.count), $0.what) }
    let width = rows.map(\.0.count).max() ?? 0
    for (count, what) in rows { write("\(count.rightAligned(in: width))  \(what)\n", to: 1) }
    let end = result.deviation == nil ? "nothing deviated" : "a deviation"
    write("\(result.rounds) rounds in \(result.seconds) s: \(end)\n", to: 1)
  }
}
