// SPDX-License-Identifier: Apache-2.0

import RecordingReader

/// Who calls a function, and whom it calls, over all of its places in the call tree.
public struct Neighbours: Sendable {
  /// A function on the other side of the calls.
  public struct Row: Sendable {
    /// As it is shown; nil: no function of the recording, a thread began there.
    public var label: String?
    /// Calls between the two.
    public var calls: UInt64
    /// Nanoseconds in the callee and what it called; 0 where the tree has no times.
    public var total: Int
  }

  /// The most time first, then the most calls.
  public private(set) var callers: [Row] = []
  /// The most time first, then the most calls.
  public private(set) var callees: [Row] = []

  /// Of the function with this name.
  public init(of function: FunctionName, in tree: CallTree) {
    let wanted = Set(
      tree.functions.indices.filter {
        tree.functions[$0].name.ofAnyLoad == function.ofAnyLoad
      })
    var from: [Int32: Row] = [:]
    var to: [Int32: Row] = [:]
    for node in tree.nodes {
      let isWanted = wanted.contains(Int(node.function))
      for index in node.children {
        let child = tree.nodes[index]
        if isWanted { Self.add(child, child.function, tree, &to) }
        if wanted.contains(Int(child.function)) { Self.add(child, node.function, tree, &from) }
      }
    }
    callers = Self.sorted(from)
    callees = Self.sorted(to)
  }

  private static func add(
    _ called: CallTree.Node, _ other: Int32, _ tree: CallTree, _ rows: inout [Int32: Row]
  ) {
    let named = other < 0 ? nil : tree.functions[Int(other)]
    let new = Row(label: named?.label, calls: 0, total: 0)
    rows[other, default: new].calls &+= called.calls
    rows[other, default: new].total &+= called.total
  }

  private static func sorted(_ rows: [Int32: Row]) -> [Row] {
    rows.values.sorted { left, right in
      if left.total != right.total { return left.total > right.total }
      if left.calls != right.calls { return left.calls > right.calls }
      return (left.label ?? "") < (right.label ?? "")
    }
  }
}
