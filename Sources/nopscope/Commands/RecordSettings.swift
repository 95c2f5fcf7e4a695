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
  var threads: [String] = []
  var maxDepth: UInt32 = 0
  var threshold: TimeSpan?
  var overwrite: ByteSize?
  /// Not when threads left the CPU.
  var noSwitches = false
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
    _ = try options()
  }

  func options() throws -> RecordOptions {
    var options = RecordOptions()
    options.tracer = tracer
    options.maximumDepth = maxDepth
    options.thresholdNanoseconds = threshold?.nanoseconds ?? 0
    options.overwriteBytes = overwrite?.bytes
    options.recordsSwitches = !noSwitches
    do {
      options.threads = try ThreadRule.parse(threads)
      options.filter = SiteFilter(
        filter: try rules(filter), notrace: try rules(notrace), graph: try rules(graph))
    } catch {
      throw ValidationError("\(error)")
    }
    return options
  }

  private func rules(_ texts: [String]) throws -> [FilterRule] {
    var rules: [FilterRule] = []
    for text in texts { rules += try FilterRule.parse(text) }
    return rules
  }
}
