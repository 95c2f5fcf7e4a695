// SPDX-License-Identifier: Apache-2.0

import RecordingReader
import TraceAnalysis

/// What a line of folded stacks counts.
public enum FoldedWeight: Sendable {
  /// Nanoseconds in the last function of the stack, without what it called.
  case selfTime
  case calls
}

/// Folded stacks: `main;parse;next_token 1234`, a line for each chain of callers.
struct FoldedExport {
  private let output: OutputBuffer
  private let tree: CallTree
  private let weight: FoldedWeight

  init(_ tree: CallTree, _ weight: FoldedWeight, to output: OutputBuffer) {
    self.tree = tree
    self.weight = weight
    self.output = output
  }

  /// Depth first, without recursion: a stack may be a million deep. A line repeats its callers'
  /// names, so that they are kept as one text that grows and shrinks.
  func write() {
    let frames = tree.functions.map { Self.frame($0.label) }
    var text: [UInt8] = []
    var waiting: [(node: Int, length: Int)] = tree.nodes[0].children.reversed().map { ($0, 0) }
    while let (index, length) = waiting.popLast() {
      let node = tree.nodes[index]
      text.removeSubrange(length...)
      if length > 0 { text.append(UInt8(ascii: ";")) }
      text += frames[Int(node.function)]
      let value = weight == .calls ? node.calls : UInt64(clamping: node.selfTime)
      if value > 0 {
        output.add(text)
        output.add(UInt8(ascii: " "))
        output.add(decimal: value)
        output.add(UInt8(ascii: "\n"))
      }
      let end = text.count
      for child in node.children.reversed() { waiting.append((child, end)) }
    }
  }

  /// A name without what separates names and lines.
  private static func frame(_ label: String) -> [UInt8] {
    label.utf8.map { byte in
      switch byte {
      case UInt8(ascii: ";"): UInt8(ascii: ":")
      case 0..<0x20, 0x7f: UInt8(ascii: " ")
      default: byte
      }
    }
  }
}
