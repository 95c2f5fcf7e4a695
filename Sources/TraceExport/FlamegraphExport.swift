// SPDX-License-Identifier: Apache-2.0

import RecordingReader
import TraceAnalysis

/// A flame graph as one page: the merged call tree, each frame as wide as its part of all time (or
/// calls).
///
/// The data are `{"title":…,"hasTimes":…,"left":…,"functions":[[name,module,source],…],"nodes":[…]}`; a node
/// is four numbers, depth first: its function, its depth from 1, its calls, its own nanoseconds or
/// calls. Node 0 is the root.
struct FlamegraphExport {
  private let output: OutputBuffer
  private let tree: CallTree
  private let title: String
  private let weight: FoldedWeight
  /// By node: its own and its callees'.
  private let totals: [UInt64]

  /// A frame of less than this part of all is not written: it would never be a pixel wide.
  private static let least: UInt64 = 1_000_000

  init(_ tree: CallTree, _ weight: FoldedWeight, title: String, to output: OutputBuffer) {
    self.tree = tree
    self.title = title
    self.output = output
    self.weight = weight
    var totals = tree.nodes.map { Self.own($0, weight) }
    totals[0] = 0
    // A parent comes before its children.
    for index in tree.nodes.indices.reversed() {
      for child in tree.nodes[index].children { totals[index] &+= totals[child] }
    }
    self.totals = totals
  }

  private static func own(_ node: CallTree.Node, _ weight: FoldedWeight) -> UInt64 {
    weight == .calls ? node.calls : UInt64(clamping: node.selfTime)
  }

  func write() {
    output.add(FlamegraphPage.head)
    output.add(literal: "{\"title\":")
    output.add(scriptBytes(title))
    output.add(literal: ",\"hasTimes\":")
    output.add(weight == .calls ? "false" : "true")
    output.add(literal: ",\"functions\":[")
    for (index, function) in tree.functions.enumerated() {
      if index > 0 { output.add(UInt8(ascii: ",")) }
      output.add(UInt8(ascii: "["))
      output.add(scriptBytes(function.label))
      output.add(UInt8(ascii: ","))
      output.add(scriptBytes(function.name.modulePath ?? ""))
      output.add(UInt8(ascii: ","))
      output.add(scriptBytes(function.name.source?.text ?? ""))
      output.add(UInt8(ascii: "]"))
    }
    output.add(literal: "],\"nodes\":[0,0,0,0")
    let left = writeNodes()
    output.add(literal: "],\"left\":")
    output.add(decimal: left)
    output.add(literal: "}")
    output.add(FlamegraphPage.tail)
  }

  /// How many were left out.
  private func writeNodes() -> UInt64 {
    let bound = totals[0] / Self.least
    var left: UInt64 = 0
    var waiting: [(node: Int, depth: UInt64)] = tree.nodes[0].children.reversed().map { ($0, 1) }
    while let (index, depth) = waiting.popLast() {
      let node = tree.nodes[index]
      if totals[index] < max(bound, 1) {
        left += 1
        continue
      }
      for number in [
        UInt64(clamping: node.function), depth, node.calls, Self.own(node, weight),
      ] {
        output.add(UInt8(ascii: ","))
        output.add(decimal: number)
      }
      for child in node.children.reversed() { waiting.append((child, depth + 1)) }
    }
    return left
  }

  /// A JSON string that ends no script.
  private func scriptBytes(_ text: String) -> [UInt8] {
    jsonBytes(text).flatMap { $0 == UInt8(ascii: "<") ? Array("\\u003c".utf8) : [$0] }
  }
}
