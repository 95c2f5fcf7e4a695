// SPDX-License-Identifier: Apache-2.0

import RecordingReader
import Units

/// The merged call tree of a recording: all calls of one function by the same chain of callers are
/// one node.
public struct CallTree: Sendable {
  /// A function by the path of calls that led to it.
  public struct Node: Sendable {
    /// Which of `functions`; -1 for the root, which stands for all threads.
    public var function: Int32
    /// Calls by this path.
    public internal(set) var calls: UInt64 = 0
    /// Nanoseconds in it or what it called; 0 where `hasTimes` is false.
    public internal(set) var total = 0
    /// Nanoseconds in it, without what it called.
    public internal(set) var selfTime = 0
    /// Indices of its children, the longest total first, then the most calls.
    public internal(set) var children: [Int] = []
  }

  /// Node 0 is the root; a parent comes before its children.
  public private(set) var nodes: [Node] = [Node(function: -1)]
  /// Each function of the tree once, with the label that is shown.
  public private(set) var functions: [(name: FunctionName, label: String)] = []
  /// Whether the nodes have times.
  public private(set) var hasTimes = false
  /// Calls that found no room: their time is in their caller's.
  public private(set) var foldedCalls: UInt64 = 0
  /// Damage that was found while reading, a line each.
  public private(set) var problems: [String] = []

  private struct Key: Hashable {
    var parent: Int32
    var function: Int32
  }

  fileprivate static let mostNodes = 1 << 21
  fileprivate let deepest: Int
  private var byKey: [Key: Int32] = [:]
  private var functionIndices: [FunctionName: Int32] = [:]
  /// By process and number: the function's index.
  private var numbers: [UInt64: Int32] = [:]
  /// By function: the process and the number by which it was met first.
  private var origins: [UInt64] = []

  /// Reads the chosen threads. What is deeper than `deepest` is not built; outermost calls have depth 1.
  ///
  /// Memory: the tree, of at most two million nodes, for each worker.
  public init(
    of recording: Recording, choosing filter: ReadingFilter = .all,
    deepest: Int = .max, workers: ReadingWorkers = .all,
    progress: @escaping (Double) -> Void = { _ in }
  ) {
    let reading = RecordingReading(recording, choosing: filter, workers: workers, progress)
    self = reading.run(CallTree(deepest: deepest))
    sortChildren()
    byKey = [:]
    numbers = [:]
    origins = []
    functionIndices = [:]
  }

  private init(deepest: Int) { self.deepest = deepest }

  private mutating func readTree(
    _ thread: ThreadRecording, _ process: ProcessRecording, _ index: Int
  ) {
    guard thread.hasCallTree else { return }
    // By index in the thread's tree: the node here, and how deep the one there is.
    var places: [(node: Int32, depth: Int)] = []
    var tree = self
    self = CallTree(deepest: 0)
    let found = thread.forEachTreeNode { place, node in
      // Nodes that are not in use are left out: their places stand for the root.
      while places.count < min(place, Self.mostNodes) { places.append((0, 0)) }
      if place == 0 || places.count >= Self.mostNodes {
        if place == 0 { places.append((0, 0)) } else { tree.foldedCalls &+= node.calls }
        return
      }
      let (parent, depth) = Int(node.parent) < places.count ? places[Int(node.parent)] : (0, 0)
      if depth >= tree.deepest {
        places.append((parent, depth))
        return
      }
      let child = tree.child(of: parent, node.function, process, index)
      if let child {
        tree.nodes[Int(child)].calls &+= node.calls
      } else {
        tree.foldedCalls &+= node.calls
      }
      places.append((child ?? parent, depth + 1))
    }
    self = tree
    problems += found
  }

  /// The child of a node for a function; nil where there is no room left.
  fileprivate mutating func child(
    of parent: Int32, _ function: UInt32, _ process: ProcessRecording, _ index: Int
  ) -> Int32? {
    let number = UInt64(index) << 32 | UInt64(function)
    let isFull = nodes.count >= Self.mostNodes
    guard let name = numbers[number] ?? (isFull ? nil : makeFunction(number, function, process))
    else { return nil }
    return child(of: parent, name)
  }

  private mutating func child(of parent: Int32, _ name: Int32) -> Int32? {
    let isFull = nodes.count >= Self.mostNodes
    let key = Key(parent: parent, function: name)
    if let known = byKey[key] { return known }
    if isFull { return nil }
    let child = Int32(nodes.count)
    nodes.append(Node(function: name))
    byKey[key] = child
    nodes[Int(parent)].children.append(Int(child))
    return child
  }

  /// One index for a function, whatever its number in which process, and in which load of its file.
  private mutating func makeFunction(
    _ number: UInt64, _ function: UInt32, _ process: ProcessRecording
  ) -> Int32 {
    let named = process.function(UInt64(function))
    return makeFunction(number, named, named.label(number: UInt64(function)))
  }

  private mutating func makeFunction(
    _ number: UInt64, _ named: FunctionName, _ label: String
  ) -> Int32 {
    let next = Int32(functions.count)
    let key = named.ofAnyLoad
    let index = named.offset == nil ? next : functionIndices[key] ?? next
    if index == next {
      functions.append((named, label))
      origins.append(number)
      if named.offset != nil { functionIndices[key] = index }
    }
    numbers[number] = index
    return index
  }

  fileprivate mutating func count(_ node: Int32) { nodes[Int(node)].calls &+= 1 }

  fileprivate mutating func fold() { foldedCalls &+= 1 }

  fileprivate mutating func add(_ node: Int32, total: Int, selfTime: Int) {
    hasTimes = true
    nodes[Int(node)].total &+= total
    nodes[Int(node)].selfTime &+= selfTime
  }

  private mutating func sortChildren() {
    for index in nodes.indices {
      var children = nodes[index].children
      nodes[index].children = []
      children.sort { left, right in
        let (first, second) = (nodes[left], nodes[right])
        if first.total != second.total { return first.total > second.total }
        return first.calls != second.calls ? first.calls > second.calls : left < right
      }
      nodes[index].children = children
    }
    nodes[0].total = nodes[0].children.reduce(0) { $0 &+ nodes[$1].total }
    nodes[0].calls = nodes[0].children.reduce(0) { $0 &+ nodes[$1].calls }
  }
}

extension CallTree: ReadingPass {
  mutating func begin(_ process: ProcessRecording, _ index: Int) {}

  mutating func read(_ events: ThreadEvents) {
    if events.thread.chunkCount > 0 {
      var sink = TreeSink(tree: self, process: events.process, index: events.processIndex)
      // The tree moves into the sink and back: it is not copied.
      self = CallTree(deepest: 0)
      let end = events.read(into: &sink)
      self = sink.tree
      problems += end.problems
    }
    readTree(events.thread, events.process, events.processIndex)
  }

  mutating func add(_ next: consuming CallTree) {
    hasTimes = hasTimes || next.hasTimes
    foldedCalls &+= next.foldedCalls
    problems += next.problems
    var parents = [Int32](repeating: 0, count: next.nodes.count)
    for (index, node) in next.nodes.enumerated() {
      for child in node.children { parents[child] = Int32(index) }
    }
    var names = [Int32](repeating: -1, count: next.functions.count)
    // By node there: the node here; where there is no room, the nearest caller's.
    var places = [Int32](repeating: 0, count: next.nodes.count)
    for (index, node) in next.nodes.enumerated().dropFirst() {
      let parent = places[Int(parents[index])]
      guard let name = name(of: node.function, in: next, &names),
        let child = child(of: parent, name)
      else {
        places[index] = parent
        foldedCalls &+= node.calls
        continue
      }
      places[index] = child
      nodes[Int(child)].calls &+= node.calls
      nodes[Int(child)].total &+= node.total
      nodes[Int(child)].selfTime &+= node.selfTime
    }
  }

  /// The index here of another tree's function; nil: there is no room for it.
  private mutating func name(
    of function: Int32, in next: borrowing CallTree, _ names: inout [Int32]
  ) -> Int32? {
    let place = Int(function)
    if names[place] >= 0 { return names[place] }
    let number = next.origins[place]
    let isFull = nodes.count >= Self.mostNodes
    let (name, label) = next.functions[place]
    guard let known = numbers[number] ?? (isFull ? nil : makeFunction(number, name, label)) else {
      return nil
    }
    names[place] = known
    return known
  }
}

/// Puts one thread's calls into the tree.
private struct TreeSink: PassSink {
  var tree: CallTree
  let process: ProcessRecording
  let index: Int

  mutating func entered(_ frame: inout Frame, parentTag: Int32, depth: Int) {
    resumed(&frame, parentTag: parentTag, depth: depth)
    if frame.tag >= 0 { tree.count(frame.tag) } else if depth < tree.deepest { tree.fold() }
  }

  mutating func resumed(_ frame: inout Frame, parentTag: Int32, depth: Int) {
    // The tag of a call that found no room is the complement of its caller's node. So is the -1 of
    // a call without a caller: the complement of the root's 0.
    let parent = parentTag < 0 ? ~parentTag : parentTag
    let child = depth < tree.deepest ? tree.child(of: parent, frame.function, process, index) : nil
    frame.tag = child ?? ~parent
  }

  mutating func ended(_ frame: Frame, at time: ClockUnits, _ how: CallEnd, depth: Int) {
    guard how.isTimed, frame.isStartKnown, frame.tag >= 0 else { return }
    let duration = time - frame.start
    let selfTime = duration > frame.childTime ? duration - frame.childTime : .zero
    tree.add(
      frame.tag, total: process.nanoseconds(ofUnits: duration),
      selfTime: process.nanoseconds(ofUnits: selfTime))
  }
}
