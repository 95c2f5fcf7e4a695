// SPDX-License-Identifier: Apache-2.0

import RecordingReader

/// What one call called: all calls by the same chain of callers are one node.
public struct SlowTree: Sendable {
  /// Calls of a function by one chain of callers.
  public struct Node: Sendable {
    /// As it is shown.
    public let label: String
    /// How many.
    public internal(set) var calls: UInt64 = 0
    /// Nanoseconds in them and what they called.
    public internal(set) var total = 0
    /// Of it, their thread was off the CPU: nanoseconds.
    public internal(set) var waited = 0
    /// Indices of what they called.
    public internal(set) var children: [Int] = []
  }

  /// The first is the call itself; a parent comes before its children.
  public internal(set) var nodes: [Node] = []

  /// Without a node.
  public init() {}

  /// The child of a node with this label.
  public func child(of node: Int, _ label: String) -> Int? {
    nodes[node].children.first { nodes[$0].label == label }
  }
}

/// The nodes of the calls of one thread that are being read. Node 0 takes what nobody asked for.
struct SlowNodes: Sendable {
  private static let most = 1 << 20
  private struct Key: Hashable {
    var parent: Int32
    var function: UInt32
  }
  private struct Node {
    var function: UInt32
    var calls: UInt64 = 0
    var total = 0
    var waited = 0
    var children: [Int32] = []
  }

  private var nodes = [Node(function: 0)]
  private var places: [Key: Int32] = [:]
  private var labels: [UInt32: String] = [:]

  mutating func root(_ function: UInt32, _ process: ProcessRecording) -> Int32 {
    add(function, process)
  }

  mutating func child(
    of parent: Int32, _ function: UInt32, _ process: ProcessRecording
  ) -> Int32 {
    if parent == 0 { return 0 }
    let key = Key(parent: parent, function: function)
    if let known = places[key] {
      nodes[Int(known)].calls += 1
      return known
    }
    if nodes.count >= Self.most { return 0 }
    let child = add(function, process)
    places[key] = child
    nodes[Int(parent)].children.append(child)
    return child
  }

  private mutating func add(_ function: UInt32, _ process: ProcessRecording) -> Int32 {
    if labels[function] == nil {
      let number = UInt64(function)
      labels[function] = process.function(number).label(number: number)
    }
    nodes.append(Node(function: function, calls: 1))
    return Int32(nodes.count - 1)
  }

  mutating func add(_ nanoseconds: Int, waited: Int, to node: Int32) {
    nodes[Int(node)].total &+= nanoseconds
    nodes[Int(node)].waited &+= waited
  }

  /// Breadth first, so that a parent comes before its children.
  func tree(at root: Int32) -> SlowTree {
    var tree = SlowTree()
    var places = [root]
    var next = 0
    tree.nodes.append(made(root))
    while next < places.count {
      for child in nodes[Int(places[next])].children {
        tree.nodes[next].children.append(places.count)
        places.append(child)
        tree.nodes.append(made(child))
      }
      next += 1
    }
    return tree
  }

  private func made(_ index: Int32) -> SlowTree.Node {
    let node = nodes[Int(index)]
    return SlowTree.Node(
      label: labels[node.function] ?? "?", calls: node.calls, total: node.total, waited: node.waited
    )
  }
}

/// What another thread was in while a call ran.
public struct Meanwhile: Sendable {
  /// A function that was the innermost, with up to two of its callers.
  public struct Part: Sendable {
    /// The innermost first; empty: no function was open.
    public let functions: [String]
    /// So long in all.
    public let nanoseconds: Int
  }

  /// The process id.
  public let process: Int32
  /// The kernel's thread id.
  public let thread: Int32
  /// The thread's name.
  public let threadName: String
  /// The longest first.
  public let parts: [Part]
  /// In functions, in all: nanoseconds.
  public var nanoseconds: Int {
    parts.reduce(0) { $0 + ($1.functions.isEmpty ? 0 : $1.nanoseconds) }
  }
}

/// Adds up what the other threads were in while one call ran.
struct MeanwhileWatch: Sendable {
  private struct Thread: Hashable, Comparable {
    var process: Int32
    var serial: UInt32
    var id: Int32

    static func < (left: Thread, right: Thread) -> Bool {
      (left.process, left.serial, left.id) < (right.process, right.serial, right.id)
    }
  }
  private static let mostFunctions = 3
  private static let mostThreads = 4096

  private var names: [Thread: String] = [:]
  private var parts: [Thread: [[String]: Int]] = [:]

  mutating func add(
    _ nanoseconds: Int, _ stack: borrowing CallStack, _ thread: ThreadRecording,
    _ process: ProcessRecording
  ) {
    let key = Thread(process: process.pid, serial: thread.serial, id: thread.id)
    guard names[key] != nil || names.count < Self.mostThreads else { return }
    names[key] = thread.name
    let functions = stack.innermost(Self.mostFunctions).map { frame in
      let number = UInt64(frame.function)
      return process.function(number).label(number: number)
    }
    parts[key, default: [:]][functions, default: 0] += nanoseconds
  }

  /// Adds what threads that come later in the recording were in.
  mutating func add(_ next: MeanwhileWatch) {
    for (key, name) in next.names.sorted(by: { $0.key < $1.key }) {
      guard names[key] != nil || names.count < Self.mostThreads else { continue }
      names[key] = name
      parts[key, default: [:]].merge(next.parts[key] ?? [:], uniquingKeysWith: +)
    }
  }

  var sorted: [Meanwhile] {
    // Of what took the same time, the order does not depend on the run.
    parts.sorted { $0.key < $1.key }.map { key, parts in
      Meanwhile(
        process: key.process, thread: key.id, threadName: names[key] ?? "",
        parts: parts.map { Meanwhile.Part(functions: $0.key, nanoseconds: $0.value) }.sorted {
          $0.nanoseconds != $1.nanoseconds
            ? $0.nanoseconds > $1.nanoseconds
            : $0.functions.lexicographicallyPrecedes($1.functions)
        })
    }.sorted { ($0.nanoseconds, $1.thread) > ($1.nanoseconds, $0.thread) }
  }
}
