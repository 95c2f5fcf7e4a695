// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CommandOutput
import RecordingReader
import TextFormat
import TraceAnalysis

struct GraphCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "graph",
    abstract: "Show the merged call tree of a recording.",
    discussion: """
      All calls of one function by the same chain of callers are one line: how often, the time in \
      it or what it called, the time without what it called. The longest come first.

      EXAMPLES
        nopscope graph
        nopscope graph build.data --depth 4 --minimum 1
        nopscope graph --json | jq '.tree.children[0]'

      EXIT STATUS
        0  the recording was read, be it in parts: stderr says what is damaged
        1  it cannot be read
        64 the command line is wrong
      """)

  @OptionGroup var recording: RecordingArguments

  @Option(help: "Show so many levels only.")
  var depth: Int?

  @Option(help: "Leave out what is below so many percent of all time (or calls).")
  var minimum = 0.0

  @Flag(help: "Write one JSON document, schema nopscope.graph/1.")
  var json = false

  @Flag(name: .customLong("no-pager"), help: "Write to the terminal without a pager.")
  var noPager = false

  func run() throws {
    let opened = try recording.open()
    try recording.requireThreads(opened)
    if let tracer = opened.processes.compactMap(\.tracer).first, [.profile, .hits].contains(tracer)
    {
      complain(
        "\(recording.directory): recorded with the tracer \(tracer.name), which keeps no callers: "
          + "try nopscope report")
      throw ExitCode(1)
    }
    let progress = Progress("reading \(recording.directory)")
    let tree = CallTree(of: opened, choosing: recording.isChosen, progress: progress.show)
    progress.finish()
    let pager = Pager(isWanted: !noPager && !json)
    let text = GraphText(tree, deepest: depth ?? .max, minimum: minimum / 100)
    var out = PagedText(pager)
    if json { text.writeJSON(to: &out) } else { text.write(to: &out) }
    out.flush()
    pager.finish()
    let problems = opened.problems + tree.problems + opened.symbolProblems
    complainOf(problems, in: recording.directory)
    if json { return }
    var line = "\(counted(Int(clamping: tree.nodes[0].calls), "outermost call")), "
    line += counted(tree.nodes.count - 1, "node")
    if tree.foldedCalls > 0 {
      line +=
        ", \(grouped(Int(clamping: tree.foldedCalls))) calls beyond two million nodes left out"
    }
    write("\(line); \(grouped(Int(clamping: opened.lostEvents))) events lost\n", to: 2)
  }
}

/// The tree as lines or as JSON, without recursion: it may be a million levels deep.
struct GraphText {
  private let tree: CallTree
  private let deepest: Int
  private let least: Double

  init(_ tree: CallTree, deepest: Int, minimum: Double) {
    self.tree = tree
    self.deepest = deepest
    let root = tree.nodes[0]
    least = minimum * Double(tree.hasTimes ? root.total : Int(clamping: root.calls))
  }

  private func children(_ node: Int, depth: Int) -> [Int] {
    if depth >= deepest { return [] }
    return tree.nodes[node].children.filter { child in
      let size =
        tree.hasTimes ? Double(tree.nodes[child].total) : Double(tree.nodes[child].calls)
      return size >= least
    }
  }

  private func label(_ node: Int) -> String {
    let function = Int(tree.nodes[node].function)
    return function < 0 ? "" : tree.functions[function].label
  }

  /// Indentation stops growing here: a line must stay readable, and a file finite.
  private static let widest = 64

  func write(to out: inout PagedText) {
    out.add(
      tree.hasTimes
        ? "       CALLS        TOTAL         SELF  FUNCTION\n" : "       CALLS  FUNCTION\n")
    var stack = children(0, depth: 0).reversed().map { (node: $0, depth: 0) }
    while let (index, depth) = stack.popLast() {
      let node = tree.nodes[index]
      var line = aligned(grouped(Int(clamping: node.calls)), 12)
      if tree.hasTimes {
        line +=
          " " + aligned(durationText(node.total), 12) + " " + aligned(durationText(node.own), 12)
      }
      line += "  " + String(repeating: "  ", count: min(depth, Self.widest))
      if depth > Self.widest { line += "[\(depth)] " }
      out.add(line + neutralised(label(index)) + "\n")
      for child in children(index, depth: depth + 1).reversed() { stack.append((child, depth + 1)) }
      if out.isClosed { return }
    }
  }

  private func aligned(_ text: String, _ width: Int) -> String {
    String(repeating: " ", count: max(0, width - text.count)) + text
  }

  /// `{"schema":"nopscope.graph/1","tree":{"function":null,"calls":…,"children":[…]}}`.
  func writeJSON(to out: inout PagedText) {
    out.add("{\"schema\":\"nopscope.graph/1\",\"tree\":")
    // What is left to do, last first: a node to begin or text to end one.
    var stack: [(node: Int, depth: Int, text: String)] = [(0, 0, "")]
    while let (index, depth, text) = stack.popLast() {
      out.add(text)
      if index < 0 { continue }
      let node = tree.nodes[index]
      let function = Int(node.function)
      let known = function < 0 ? nil : tree.functions[function].name
      out.add("{\"calls\":\(node.calls),\"function\":\(quoted(known?.name))")
      out.add(",\"generation\":\(known?.generation ?? 0),\"module\":\(quoted(known?.modulePath))")
      out.add(",\"selfNanoseconds\":\(tree.hasTimes ? String(node.own) : "null")")
      out.add(",\"totalNanoseconds\":\(tree.hasTimes ? String(node.total) : "null"),\"children\":[")
      stack.append((-1, 0, "]}"))
      let below = children(index, depth: depth)
      for (place, child) in below.enumerated().reversed() {
        stack.append((child, depth + 1, place > 0 ? "," : ""))
      }
    }
    out.add("}\n")
  }

  private func quoted(_ text: String?) -> String { (try? jsonText(text)) ?? "null" }
}
