// SPDX-License-Identifier: Apache-2.0

import CommandOutput
import RecordingReader
import TextFormat
import TraceAnalysis
import Units

/// What `nopscope slow` shows.
struct SlowText {
  let slow: SlowCalls
  let calls: [SlowCalls.Call]
  let recording: Recording
  let title: String
  /// A part of the call, 0 to 1.
  let minimum: Double

  private static let mostThreads = 6
  private static let mostParts = 3
  private static let deepest = 64

  /// At most `width` wide; nil: as wide as it is.
  func write(to out: inout PagedText, width: Int?) {
    out.add(headingText(fitted(summary, width) + "\n"))
    for (index, call) in calls.enumerated() {
      out.add("\n")
      out.add(headingText(fitted("\(index + 1). \(headline(call))", width) + "\n"))
      for line in tree(call) { out.add(fitted(line, width) + "\n") }
      for line in meanwhile(call) { out.add(fitted(line, width) + "\n") }
    }
  }

  private func fitted(_ line: String, _ width: Int?) -> String {
    width.map { cut(line, to: $0) } ?? line
  }

  private var summary: String {
    var text = "\(neutralised(title)): \(counted(slow.calls, "call"))"
    guard let distribution = slow.distribution else { return text }
    for (name, part) in [("median", 0.5), ("P99", 0.99), ("max", 1)] {
      if let value = distribution.quantile(part) { text += ", \(name) \(durationText(value))" }
    }
    return text
  }

  private func headline(_ call: SlowCalls.Call) -> String {
    let clock = recording.wallClock.nanosecondsOfDay(at: call.start)
    let start = recording.startTime
    let units = call.start > start ? call.start - start : .zero
    let scale = recording.processes.first { $0.pid == call.process }
    let since = scale?.nanoseconds(ofUnits: units) ?? 0
    return "\(durationText(call.nanoseconds)) at \(timeOfDayText(clock)) "
      + "(\(durationText(since)) after the start), thread \(neutralised(call.threadName))/"
      + "\(call.thread)" + ending(call)
      + (call.waited > 0 ? ", off the CPU \(durationText(call.waited))" : "")
  }

  private func ending(_ call: SlowCalls.Call) -> String {
    switch call.how {
    case .unwound: ", ended without returning"
    case .stillOpen: ", never returned"
    default: ""
    }
  }

  /// The call's tree, with the median call's times beside it.
  private func tree(_ call: SlowCalls.Call) -> [String] {
    let other = slow.median?.tree ?? SlowTree()
    let least = max(1, Int(Double(call.nanoseconds) * minimum))
    let hasWaits = recording.hasSwitches
    var table = FittedTable(
      [.number("TIME")] + (hasWaits ? [.number("WAIT")] : [])
        + [.number("CALLS"), .number("MEDIAN"), .number("CALLS"), .text("FUNCTION")])
    // Node, the median's node for the same path, depth.
    var left: [(node: Int, other: Int?, depth: Int)] = [
      (0, other.nodes.isEmpty ? nil : 0, 0)
    ]
    while let (index, beside, depth) = left.popLast() {
      guard call.tree.nodes.indices.contains(index) else { break }
      let node = call.tree.nodes[index]
      let typical = beside.map { other.nodes[$0] }
      let times = [durationText(node.total)] + (hasWaits ? [durationText(node.waited)] : [])
      table.add(
        times + [
          grouped(node.calls), typical.map { durationText($0.total) } ?? "-",
          typical.map { grouped($0.calls) } ?? "-",
          String(repeating: "  ", count: min(depth, Self.deepest)) + neutralised(node.label)
            + (index == 0 ? values(call) : ""),
        ])
      let children = node.children.filter { call.tree.nodes[$0].total >= least }
        .sorted { call.tree.nodes[$0].total < call.tree.nodes[$1].total }
      for child in children {
        let label = call.tree.nodes[child].label
        left.append((child, beside.flatMap { other.child(of: $0, label) }, depth + 1))
      }
    }
    let lines = table.lines(width: nil)
    return ([lines.heading] + lines.rows).map { String($0.dropLast($0.hasSuffix("\n") ? 1 : 0)) }
  }

  /// What the call was given and returned.
  private func values(_ call: SlowCalls.Call) -> String {
    let arguments = call.arguments.map { all in
      "(" + all.map(\.text).joined(separator: ", ") + ")"
    }
    return neutralised((arguments ?? "") + (call.result.map { " = " + $0.text } ?? ""))
  }

  private func meanwhile(_ call: SlowCalls.Call) -> [String] {
    if call.meanwhile.isEmpty { return [] }
    var lines = ["meanwhile:"]
    for thread in call.meanwhile.prefix(Self.mostThreads) {
      let parts = thread.parts.prefix(Self.mostParts).map { part in
        let place = part.functions.map(neutralised).joined(separator: " < ")
        return "\(durationText(part.nanoseconds)) in \(place.isEmpty ? "no function" : place)"
      }
      let name = "\(neutralised(thread.threadName))/\(thread.thread)"
      lines.append("  \(name): \(parts.joined(separator: ", "))")
    }
    let more = call.meanwhile.count - Self.mostThreads
    if more > 0 { lines.append("  and \(counted(more, "other thread"))") }
    return lines
  }
}

/// `14:03:05.250000`, of nanoseconds since midnight.
func timeOfDayText(_ nanoseconds: Int) -> String {
  func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
  let seconds = nanoseconds / 1_000_000_000
  let micro = String(nanoseconds % 1_000_000_000 / 1000)
  return "\(two(seconds / 3600)):\(two(seconds / 60 % 60)):\(two(seconds % 60))."
    + String(repeating: "0", count: 6 - micro.count) + micro
}
