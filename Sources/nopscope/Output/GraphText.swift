// SPDX-License-Identifier: Apache-2.0

import CommandOutput
import RecordingReader
import RecordingSchema
import TextFormat
import TraceAnalysis

/// The tree as lines or as JSON, without recursion: it may be a million levels deep.
struct GraphText {
  private let tree: CallTree
  private let least: Double
  /// As shown, by index in the tree's functions.
  private let labels: [String]

  init(_ tree: CallTree, minimum: Double) {
    self.tree = tree
    let root = tree.nodes[0]
    least = minimum * Double(tree.hasTimes ? root.total : Int(clamping: root.calls))
    let marks = ModuleMarks(tree.functions.lazy.map { ($0.label, $0.name.modulePath) })
    labels = tree.functions.map {
      neutralised(marks.marked($0.label, module: $0.name.modulePath))
    }
  }

  private func children(_ node: Int) -> [Int] {
    tree.nodes[node].children.filter { child in
      let size =
        tree.hasTimes ? Double(tree.nodes[child].total) : Double(tree.nodes[child].calls)
      return size >= least
    }
  }

  private func label(_ node: Int) -> String {
    let function = Int(tree.nodes[node].function)
    return function < 0 ? "" : labels[function]
  }

  /// Indentation stops growing here: a line must stay readable, and a file finite.
  private static let widest = 64

  /// At most `width` wide; nil: as wide as it is.
  func write(to out: inout PagedText, width: Int?) {
    let columns = columns
    out.add(headingText(columns.head))
    var stack = children(0).reversed().map { (node: $0, depth: 0) }
    while let (index, depth) = stack.popLast() {
      let node = tree.nodes[index]
      var cells = [grouped(node.calls)]
      if tree.hasTimes { cells += [durationText(node.total), durationText(node.selfTime)] }
      let indent = String(repeating: "  ", count: min(depth, Self.widest))
      let mark = depth > Self.widest ? "[\(depth)] " : ""
      let line = columns.line(cells + [indent + mark + label(index)])
      out.add(width.map { cut(line, to: $0) } ?? line)
      for child in children(index).reversed() { stack.append((child, depth + 1)) }
      if out.isClosed { return }
    }
  }

  private var columns: TextTable {
    let numbers = tree.hasTimes ? ["CALLS", "TOTAL", "SELF"] : ["CALLS"]
    return TextTable(
      numbers.enumerated().map { .init($0.element, .right, width: $0.offset == 0 ? 12 : 11) }
        + [.init("FUNCTION")])
  }

  /// `{"schema":"nopscope.graph/1","tree":{"function":null,"calls":…,"children":[…]}}`.
  ///
  /// Not by the encoder, which recurses: docs/decisions.md.
  func writeJSON(to out: inout PagedText) {
    out.add("{\"schema\":\"\(schemaText("graph"))\",\"tree\":")
    // What is left to do, last first: a node to begin or text to end one.
    var stack: [(node: Int, text: String)] = [(0, "")]
    while let (index, text) = stack.popLast() {
      out.add(text)
      if index < 0 { continue }
      let node = tree.nodes[index]
      let function = Int(node.function)
      let known = function < 0 ? nil : tree.functions[function].name
      out.add("{\"calls\":\(node.calls),\"function\":\(quoted(known?.name))")
      out.add(",\"linkedName\":\(quoted(known?.rawName)),\"module\":\(quoted(known?.modulePath))")
      out.add(",\"offset\":\(known?.offset.map { String($0.rawValue) } ?? "null")")
      out.add(",\"selfNanoseconds\":\(tree.hasTimes ? String(node.selfTime) : "null")")
      out.add(",\"sourceFile\":\(quoted(known?.source?.file))")
      out.add(",\"sourceLine\":\(known?.source.map { String($0.line) } ?? "null")")
      out.add(",\"totalNanoseconds\":\(tree.hasTimes ? String(node.total) : "null"),\"children\":[")
      stack.append((-1, "]}"))
      for (place, child) in children(index).enumerated().reversed() {
        stack.append((child, place > 0 ? "," : ""))
      }
    }
    out.add("}\n")
  }

  private func quoted(_ text: String?) -> String { (try? jsonText(text)) ?? "null" }
}

/// The last line of `nopscope graph`: `3 outermost calls, 112 nodes; 0 events lost`.
func graphClosing(_ tree: CallTree, of recording: Recording) -> String {
  var line = "\(counted(tree.nodes[0].calls, "outermost call")), "
  line += counted(tree.nodes.count - 1, "node")
  if tree.foldedCalls > 0 {
    line += ", \(grouped(tree.foldedCalls)) calls left out: the tree has two million nodes"
  }
  return "\(line); \(lossText(recording.lostEvents, recording))"
}

/// Why there is no tree.
func noCallers(_ tracer: Tracer) -> String {
  "recorded with the tracer \(tracer.name), which keeps no callers: try nopscope report"
}
