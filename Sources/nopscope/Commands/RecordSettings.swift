// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Filters
import Recorder
import RecordingSchema

/// What a recording holds, as the command line says it.
struct RecordSettings {
  var output = "nopscope.data"
  var tracer = Tracer.functionGraph
  var filter: [String] = []
  var notrace: [String] = []
  var graph: [String] = []
  /// Functions whose arguments and results are recorded.
  var arguments: [String] = []
  var threads: [String] = []
  var maxDepth: UInt32 = 0
  var threshold: TimeSpan?
  var overwrite: ByteSize?
  /// Not when threads left the CPU.
  var noSwitches = false
  var delay: TimeSpan?
  var duration: TimeSpan?
  var startOn: [String] = []
  var stopOn: [String] = []
  var snapshotOn: String?
  var snapshotSignal: String?
  var snapshots: Int?
  /// No closing line.
  var isQuiet = false
  /// Without a call site that was armed, the run fails.
  var requiresSites = false

  /// The smallest flight recorder: less than a chunk or two holds nothing.
  private static let smallestOverwrite: UInt64 = 64 << 10

  func validate() throws {
    let ofCalls = [
      ("--max-depth", maxDepth > 0), ("--graph", !graph.isEmpty), ("--threshold", threshold != nil),
    ]
    for (option, isThere) in ofCalls where isThere && tracer != .functionGraph {
      throw ValidationError(
        "\(option): only the tracer function_graph has this option, and --tracer is \(tracer.rawValue)"
      )
    }
    if let overwrite {
      if !tracer.writesEvents {
        throw ValidationError(
          "--overwrite needs a stream of events: \(tracer.rawValue) writes none")
      }
      if overwrite.bytes < Self.smallestOverwrite {
        throw ValidationError("--overwrite: expected at least 64K, found \(overwrite.bytes) bytes")
      }
    }
    try validateSnapshots()
    if !arguments.isEmpty { try validateMarked("--args") }
    if let duration, duration.nanoseconds == 0 {
      throw ValidationError("--duration: expected more than 0, as in 10s")
    }
    _ = try options()
  }

  private func validateSnapshots() throws {
    let options = [
      ("--snapshot-on", snapshotOn != nil), ("--snapshot-signal", snapshotSignal != nil),
    ]
    for (option, isThere) in options where isThere && overwrite == nil {
      throw ValidationError(
        "\(option): a snapshot is of the last calls: add --overwrite SIZE, as in --overwrite 16M")
    }
    if let snapshots {
      if !options.contains(where: \.1) {
        throw ValidationError(
          "--snapshots: nothing takes one: add --snapshot-on or --snapshot-signal")
      }
      if snapshots < 1 {
        throw ValidationError("--snapshots: expected at least 1, found \(snapshots)")
      }
    }
    if snapshotOn != nil { try validateMarked("--snapshot-on") }
  }

  /// Options by which more is recorded of some functions' calls.
  private func validateMarked(_ marked: String) throws {
    if tracer != .functionGraph {
      throw ValidationError(
        "\(marked): only the tracer function_graph has this option, and --tracer is "
          + tracer.rawValue)
    }
    let ofCalls = [
      ("--max-depth", maxDepth > 0), ("--graph", !graph.isEmpty), ("--threshold", threshold != nil),
    ]
    for (option, isThere) in ofCalls where isThere {
      throw ValidationError("\(marked) cannot be combined with \(option)")
    }
  }

  func options() throws -> RecordOptions {
    var options = RecordOptions()
    options.tracer = tracer
    options.maximumDepth = maxDepth
    options.thresholdNanoseconds = threshold?.nanoseconds ?? 0
    options.overwriteBytes = overwrite?.bytes
    options.recordsSwitches = !noSwitches
    options.triggers.delayNanoseconds = delay?.nanoseconds ?? 0
    options.triggers.durationNanoseconds = duration?.nanoseconds
    do {
      options.threads = try ThreadRule.parse(threads)
      options.filter = SiteFilter(
        filter: try rules(filter), notrace: try rules(notrace), graph: try rules(graph))
      options.arguments = try arguments.flatMap(ArgumentRule.parse)
      options.triggers.startOn = try functions(startOn, of: "--start-on")
      options.triggers.stopOn = try functions(stopOn, of: "--stop-on")
      if let condition = try snapshotOn.map(SnapshotCondition.init(argument:)) {
        options.snapshots.functions = try functions([condition.function], of: "--snapshot-on")
        options.snapshots.limitNanoseconds = condition.limit.nanoseconds
        options.snapshots.text = condition.text
      }
      options.snapshots.signal = try snapshotSignal.map(SnapshotSignal.init(argument:))?.number
      options.snapshots.most = snapshots ?? options.snapshots.most
    } catch let error as ValidationError {
      throw error
    } catch {
      throw ValidationError("\(error)")
    }
    return options
  }

  /// Rules that name functions and take none away.
  private func functions(_ texts: [String], of option: String) throws -> [FilterRule] {
    let found = try rules(texts)
    if let removal = found.first(where: \.isRemoval) {
      throw ValidationError(
        "\(option): expected a function, as in 'handle_*', found '\(removal.text)'")
    }
    return found
  }

  private func rules(_ texts: [String]) throws -> [FilterRule] {
    var rules: [FilterRule] = []
    for text in texts { rules += try FilterRule.parse(text) }
    return rules
  }
}
