// SPDX-License-Identifier: Apache-2.0

import RecordingReader
import TraceAnalysis
import Units

/// `nopscope slow --json`: the schema is in docs/format.md.
struct SlowDocument: Encodable {
  struct Node: Encodable {
    var function: String
    /// Index of the caller; nil: the call itself.
    var parent: Int?
    var calls: UInt64
    var totalNanoseconds: Int
    /// Of it, the thread was off the CPU; nil: not known.
    var waitNanoseconds: Int?
  }
  struct Part: Encodable {
    var functions: [String]
    var nanoseconds: Int
  }
  struct Thread: Encodable {
    var pid: Int32
    var tid: Int32
    var name: String
    var parts: [Part]
  }
  struct Argument: Encodable {
    /// Nil: it has none.
    var name: String?
    var value: CallValue
  }
  struct Call: Encodable {
    var nanoseconds: Int
    var startNanoseconds: Int
    var pid: Int32
    var tid: Int32
    var threadName: String
    var returned: Bool
    /// Nil: not recorded.
    var arguments: [Argument]?
    /// Nil: nothing was returned, or it is not recorded.
    var result: CallValue?
    var tree: [Node]
    var meanwhile: [Thread]
  }

  var calls: UInt64
  var medianNanoseconds: Int?
  var p99Nanoseconds: Int?
  var slowest: [Call]
  var median: Call?

  init(_ slow: SlowCalls, _ calls: [SlowCalls.Call], _ recording: Recording) {
    self.calls = slow.calls
    medianNanoseconds = slow.distribution?.quantile(0.5)
    p99Nanoseconds = slow.distribution?.quantile(0.99)
    slowest = calls.map { Self.call($0, recording) }
    median = slow.median.map { Self.call($0, recording) }
  }

  private static func call(_ call: SlowCalls.Call, _ recording: Recording) -> Call {
    let process = recording.processes.first { $0.pid == call.process }
    let start = recording.startTime
    let units = call.start > start ? call.start - start : .zero
    var parents: [Int: Int] = [:]
    for (index, node) in call.tree.nodes.enumerated() {
      for child in node.children { parents[child] = index }
    }
    return Call(
      nanoseconds: call.nanoseconds,
      startNanoseconds: process?.nanoseconds(ofUnits: units) ?? 0, pid: call.process,
      tid: call.thread, threadName: call.threadName, returned: call.how == .returned,
      arguments: call.arguments?.map {
        Argument(name: $0.name.isEmpty ? nil : $0.name, value: $0.value)
      }, result: call.result,
      tree: call.tree.nodes.enumerated().map { index, node in
        Node(
          function: node.label, parent: parents[index], calls: node.calls,
          totalNanoseconds: node.total,
          waitNanoseconds: recording.hasSwitches ? node.waited : nil)
      },
      meanwhile: call.meanwhile.map { thread in
        Thread(
          pid: thread.process, tid: thread.thread, name: thread.threadName,
          parts: thread.parts.map { Part(functions: $0.functions, nanoseconds: $0.nanoseconds) })
      })
  }
}
