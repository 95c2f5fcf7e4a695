// SPDX-License-Identifier: Apache-2.0

import Glibc
import RecordingReader
import TraceAnalysis

/// A recording against the counts of the program that was recorded.
struct RecordingCheck {
  let recording: String
  let counts: SoakCounts
  let tracer: String
  let tally: SoakTally

  private struct Found {
    var calls: [String: Int] = [:]
    /// By process and image, by generation, of the plugins' leaves.
    var leaves: [String: [Int: Int]] = [:]
    var problems: [String] = []
    var isRightlyNamed = true
  }

  /// `isWhole`: it ended by itself. `mayLack`: what was recorded last may be missing.
  func check(isWhole: Bool, mayLack: Bool) throws(SoakDeviation) {
    let opened: Recording
    do { opened = try Recording(directory: recording) } catch {
      // A recorder that was killed before the first process joined has left no events.
      if !mayLack { throw SoakDeviation(description: "the recording cannot be read: \(error)") }
      return
    }
    let found = read(opened)
    if !mayLack {
      guard found.problems.isEmpty, opened.lostEvents == 0 else {
        let text = found.problems.prefix(10).joined(separator: "; ")
        throw SoakDeviation(description: "problems: \(text), \(opened.lostEvents) events lost")
      }
    }
    // A module's line is written when the agent has reported whether it applied its plan: with
    // nopscope killed in between, its functions are numbers.
    guard found.isRightlyNamed || mayLack else {
      throw SoakDeviation(description: "functions without a name: \(found.calls.keys.sorted())")
    }
    try compareNames(found, mayLack: mayLack, isWhole: isWhole)
    if isWhole { try compareGenerations(opened, found) }
  }

  private func read(_ opened: Recording) -> Found {
    var found = Found()
    for process in opened.processes {
      let report = Report(
        of: opened,
        choosing: ReadingFilter { one, _ in
          one.pid == process.pid && one.incarnation == process.incarnation
        }, eachLoad: true)
      found.problems += report.problems
      for row in report.rows {
        guard let name = row.function.rawName else {
          found.isRightlyNamed = false
          continue
        }
        found.calls[name, default: 0] += Int(row.calls)
        if name.hasPrefix("plugin_"), name.hasSuffix("_leaf") {
          let image = "\(process.pid)-\(process.incarnation)"
          found.leaves[image, default: [:]][row.function.generation, default: 0] += Int(row.calls)
        }
      }
    }
    return found
  }

  private func compareNames(_ found: Found, mayLack: Bool, isWhole: Bool) throws(SoakDeviation) {
    let counted = counts.calls
    for name in Set(found.calls.keys).union(counted.keys).sorted() {
      let (before, inside) = counted[name] ?? (0, 0)
      let calls = found.calls[name] ?? 0
      let mayLack = mayLack || (!isWhole && name == SoakProgram.lent)
      if calls <= before && (mayLack || calls >= inside) && (!isWhole || before == inside) {
        continue
      }
      throw SoakDeviation(
        description: "\(name): recorded \(calls) calls by \(tracer), the program counted "
          + "\(inside) to \(before)")
    }
    tally.add("recorded runs: functions whose count was compared", counted.count)
  }

  /// Each load of a plugin is a generation of its own: in the order of their coming, each with its
  /// own number of calls, under its own name.
  private func compareGenerations(_ opened: Recording, _ found: Found) throws(SoakDeviation) {
    var expected: [String: [SoakCounts.Load]] = [:]
    for load in counts.loads { expected["\(load.process)-\(load.image)", default: []].append(load) }
    for process in opened.processes {
      let image = "\(process.pid)-\(process.incarnation)"
      guard let loads = expected[image] else { continue }
      let generations = process.modules.filter { $0.path.hasSuffix("/plugin.so") }
        .sorted { $0.generation < $1.generation }
      guard generations.count == loads.count else {
        throw SoakDeviation(
          description: "process \(image): \(loads.count) loads, \(generations.count) generations")
      }
      for (load, module) in zip(loads, generations) {
        let calls = found.leaves[image]?[module.generation] ?? 0
        let first = process.function(module.firstFunction).rawName ?? "nobody"
        guard calls == load.calls, first.hasPrefix("plugin_\(load.plugin)_") else {
          throw SoakDeviation(
            description: "process \(image), generation \(module.generation) (\(module.status)): "
              + "\(calls) calls, named \(first); the program loaded plugin \(load.plugin) and "
              + "called it \(load.calls) times")
        }
      }
      tally.add("recorded runs: generations whose count was exact", loads.count)
    }
  }
}
