// SPDX-License-Identifier: Apache-2.0

public import Filters
public import RecordingReader
public import Units

/// The slowest calls of a function, the call of the median duration beside them, and what the other
/// threads were in meanwhile.
///
/// A call inside another chosen one is a part of it. Reads the recording three times; memory is that of
/// the calls' trees, whatever the recording's length.
public struct SlowCalls: Sendable {
  /// One call.
  public struct Call: Sendable {
    /// The process id.
    public let process: Int32
    /// The kernel's thread id.
    public let thread: Int32
    /// The thread's name.
    public let threadName: String
    /// When it began.
    public let start: ClockUnits
    /// When it ended.
    public let end: ClockUnits
    /// How long it took.
    public let nanoseconds: Int
    /// So long of it, its thread was off the CPU.
    public let waited: Int
    /// It ended without returning, or not before its process did.
    public let how: CallEnd
    /// What it was given; nil: that is not recorded.
    public internal(set) var arguments: [CallArgument]?
    /// What it returned; nil: nothing, or it is not recorded.
    public internal(set) var result: CallValue?
    /// What it called.
    public internal(set) var tree = SlowTree()
    /// What other threads were in meanwhile, the longest first.
    public internal(set) var meanwhile: [Meanwhile] = []
    let place: Place
  }

  /// Which thread of which process, and which of its chosen calls.
  struct Place: Hashable, Sendable {
    var process: Int
    var thread: Int
    var call: Int32
  }

  /// The slowest first.
  public internal(set) var slowest: [Call] = []
  /// The call whose duration is the median's, or the nearest; nil: there is no call.
  public internal(set) var median: Call?
  /// Calls whose duration is known.
  public internal(set) var calls: UInt64 = 0
  /// Of all of them.
  public internal(set) var distribution: Distribution?
  /// Damage, one line each.
  public internal(set) var problems: [String] = []

  /// Looks for the `count` slowest calls of the functions that the rules choose.
  public init(
    of rules: [FilterRule], count: Int, in recording: Recording,
    choosing filter: ReadingFilter = .all, workers: ReadingWorkers = .all,
    progress: @escaping (Double) -> Void = { _ in }
  ) {
    let reading = RecordingReading(
      recording, choosing: filter, workers: workers, passes: 3, progress)
    let first = reading.run(SlowPass(sink: SlowFinder(rules: rules, most: count)))
    slowest = first.sink.slowest
    calls = first.sink.calls
    problems = recording.problems + first.problems
    distribution = first.sink.distribution
    guard let typical = distribution?.quantile(0.5) else { return }
    let finder = MedianFinder(rules: rules, wanted: typical)
    median = reading.run(SlowPass(sink: finder)).sink.best
    readTrees(rules, reading, ValueCache(recording))
    problems += recording.symbolProblems
  }

  private mutating func readTrees(
    _ rules: [FilterRule], _ reading: RecordingReading, _ values: ValueCache
  ) {
    let wanted = slowest + (median.map { [$0] } ?? [])
    let builder = TreeBuilder(rules: rules, wanted: wanted, values: values)
    let trees = reading.run(SlowPass(sink: builder)).sink
    for index in slowest.indices {
      trees.complete(&slowest[index])
      slowest[index].meanwhile = trees.meanwhile(index)
    }
    if var call = median {
      trees.complete(&call)
      median = call
    }
  }
}

/// One of the passes.
private protocol SlowSink: PassSink, Sendable {
  /// The next thread follows.
  mutating func begin(
    _ process: ProcessRecording, _ thread: ThreadRecording, _ place: SlowCalls.Place)
  /// Adds what was found in threads that come later in the recording.
  mutating func add(_ next: Self)
}

/// Reads all chosen threads into one sink.
private struct SlowPass<Sink: SlowSink>: ReadingPass {
  var sink: Sink
  var problems: [String] = []

  mutating func begin(_ process: ProcessRecording, _ index: Int) {}

  mutating func read(_ events: ThreadEvents) {
    if events.thread.chunkCount == 0 { return }
    let place = SlowCalls.Place(process: events.processIndex, thread: events.threadIndex, call: 0)
    sink.begin(events.process, events.thread, place)
    problems += events.read(into: &sink).problems
  }

  mutating func add(_ next: consuming SlowPass) {
    problems += next.problems
    sink.add(next.sink)
  }
}

/// Tells the chosen calls of a thread from others: the outermost of them are numbered from 1.
///
/// A frame's tag is its number; 0: it is inside of one; -1: it is not.
struct OutermostCalls: Sendable {
  private var functions: SelectedFunctions?
  private(set) var thread: (process: ProcessRecording, thread: ThreadRecording)?
  private(set) var place = SlowCalls.Place(process: 0, thread: 0, call: 0)
  private let rules: [FilterRule]
  private var byProcess: [Int: SelectedFunctions] = [:]

  init(_ rules: [FilterRule]) { self.rules = rules }

  mutating func begin(
    _ process: ProcessRecording, _ thread: ThreadRecording, _ place: SlowCalls.Place
  ) {
    if self.thread != nil { byProcess[self.place.process] = functions }
    self.thread = (process, thread)
    self.place = place
    functions = byProcess[place.process] ?? SelectedFunctions(process, rules)
  }

  /// The number of an outermost chosen call.
  mutating func enter(_ frame: Frame, parentTag: Int32) -> Int32? {
    guard parentTag < 0, place.call < Int32.max,
      functions?.contains(frame.function) == true
    else { return nil }
    place.call += 1
    return place.call
  }

  func call(_ frame: Frame, _ number: Int32, at time: ClockUnits, _ how: CallEnd)
    -> SlowCalls.Call?
  {
    guard let (process, thread) = thread, how.isTimed, frame.isStartKnown else { return nil }
    var place = place
    place.call = number
    return SlowCalls.Call(
      process: process.pid, thread: thread.id, threadName: thread.name, start: frame.start,
      end: time, nanoseconds: process.nanoseconds(ofUnits: time - frame.start),
      waited: process.nanoseconds(ofUnits: frame.waited), how: how,
      place: place)
  }
}

/// A sink that asks only when the outermost chosen calls end.
private protocol OutermostSink: SlowSink {
  var outermost: OutermostCalls { get set }
}

extension OutermostSink {
  mutating func entered(_ frame: inout Frame, parentTag: Int32, depth: Int) {
    frame.tag = outermost.enter(frame, parentTag: parentTag) ?? min(parentTag, 0)
  }

  mutating func resumed(_ frame: inout Frame, parentTag: Int32, depth: Int) {
    entered(&frame, parentTag: parentTag, depth: depth)
  }
}

/// The first pass: the slowest calls, and how all of them are distributed.
private struct SlowFinder: OutermostSink {
  var outermost: OutermostCalls
  private let most: Int
  private(set) var slowest: [SlowCalls.Call] = []
  private(set) var calls: UInt64 = 0
  /// Of the last of the slowest.
  private var leastUnits: UInt64 = 0
  private var pool = HistogramPool()
  private var bounds = (least: UInt64.max, most: UInt64.zero)
  private var scale = 1.0

  init(rules: [FilterRule], most: Int) {
    outermost = OutermostCalls(rules)
    self.most = most
    pool.addFunction()
  }

  mutating func begin(
    _ process: ProcessRecording, _ thread: ThreadRecording, _ place: SlowCalls.Place
  ) {
    scale = process.scale
    outermost.begin(process, thread, place)
  }

  mutating func ended(_ frame: Frame, at time: ClockUnits, _ how: CallEnd, depth: Int) {
    guard frame.tag > 0, how.isTimed, frame.isStartKnown else { return }
    let units = (time - frame.start).rawValue
    calls += 1
    pool.count(units, function: 0)
    bounds = (min(bounds.least, units), max(bounds.most, units))
    // Most are not among the slowest: that is decided before anything is made of them.
    if slowest.count == most, units <= leastUnits { return }
    guard let call = outermost.call(frame, frame.tag, at: time, how) else { return }
    insert(call)
  }

  /// The earlier in the recording comes first where two took the same time.
  private mutating func insert(_ call: SlowCalls.Call) {
    let index = slowest.firstIndex { $0.nanoseconds < call.nanoseconds } ?? slowest.count
    slowest.insert(call, at: index)
    if slowest.count > most { slowest.removeLast() }
    if let least = slowest.last { leastUnits = (least.end - least.start).rawValue }
  }

  mutating func add(_ next: SlowFinder) {
    if next.calls == 0 { return }
    scale = next.scale
    calls += next.calls
    pool.add(function: 0, of: next.pool, to: 0)
    bounds = (min(bounds.least, next.bounds.least), max(bounds.most, next.bounds.most))
    for call in next.slowest { insert(call) }
  }

  var distribution: Distribution? {
    if calls == 0 { return nil }
    var histogram = Histogram()
    pool.merge(function: 0, into: &histogram)
    return Distribution(histogram: histogram, scale: scale, bounds: bounds)
  }
}

/// The second pass: the call whose duration is nearest to the median's.
private struct MedianFinder: OutermostSink {
  var outermost: OutermostCalls
  private let wanted: Int
  private var scale = 1.0
  /// How far the best is from what is wanted: nanoseconds.
  private var distance = Double.infinity
  private(set) var best: SlowCalls.Call?

  init(rules: [FilterRule], wanted: Int) {
    outermost = OutermostCalls(rules)
    self.wanted = wanted
  }

  mutating func begin(
    _ process: ProcessRecording, _ thread: ThreadRecording, _ place: SlowCalls.Place
  ) {
    scale = process.scale
    outermost.begin(process, thread, place)
  }

  mutating func ended(_ frame: Frame, at time: ClockUnits, _ how: CallEnd, depth: Int) {
    guard frame.tag > 0, distance > 0 else { return }
    let nanoseconds = Double((time - frame.start).rawValue) * scale
    let away = abs(nanoseconds.rounded() - Double(wanted))
    guard away < distance, let call = outermost.call(frame, frame.tag, at: time, how) else {
      return
    }
    distance = away
    best = call
  }

  mutating func add(_ next: MedianFinder) {
    guard next.distance < distance else { return }
    distance = next.distance
    best = next.best
  }
}

/// The third pass: what each of the calls found called, and what other threads were in meanwhile.
private struct TreeBuilder: SlowSink {
  private(set) var trees: [SlowCalls.Place: SlowTree] = [:]
  private var outermost: OutermostCalls
  private var pool = SlowNodes()
  private var roots: [Int32: SlowCalls.Place] = [:]
  private let wanted: Set<SlowCalls.Place>
  private let windows: [(from: ClockUnits, to: ClockUnits, place: SlowCalls.Place)]
  private var watches: [MeanwhileWatch]
  private var values: ValueCache
  private var arguments: [SlowCalls.Place: [CallArgument]] = [:]
  private var results: [SlowCalls.Place: CallValue] = [:]
  /// No window is outside.
  private let bounds: (from: ClockUnits, to: ClockUnits)

  init(rules: [FilterRule], wanted: [SlowCalls.Call], values: ValueCache) {
    self.values = values
    outermost = OutermostCalls(rules)
    self.wanted = Set(wanted.map(\.place))
    windows = wanted.map { ($0.start, $0.end, $0.place) }
    watches = wanted.map { _ in MeanwhileWatch() }
    bounds = (windows.map(\.from).min() ?? .max, windows.map(\.to).max() ?? .zero)
  }

  mutating func begin(
    _ process: ProcessRecording, _ thread: ThreadRecording, _ place: SlowCalls.Place
  ) {
    outermost.begin(process, thread, place)
    pool = SlowNodes()
    roots = [:]
  }

  mutating func entered(_ frame: inout Frame, parentTag: Int32, depth: Int) {
    if parentTag == 0 {
      frame.tag = 0  // in a call that nobody asked for
    } else if parentTag > 0 {
      frame.tag =
        outermost.thread.map { pool.child(of: parentTag, frame.function, $0.process) } ?? 0
    } else if outermost.enter(frame, parentTag: parentTag) != nil, let thread = outermost.thread {
      // Others have to be told from what is outside as well: they are the root's, which is dropped.
      frame.tag = 0
      if wanted.contains(outermost.place) {
        frame.tag = pool.root(frame.function, thread.process)
        roots[frame.tag] = outermost.place
        let index = outermost.place.process
        arguments[outermost.place] = values.arguments(
          frame.function, process: thread.process, index: index)
      }
    }
  }

  mutating func resumed(_ frame: inout Frame, parentTag: Int32, depth: Int) {
    entered(&frame, parentTag: parentTag, depth: depth)
  }

  mutating func ended(_ frame: Frame, at time: ClockUnits, _ how: CallEnd, depth: Int) {
    guard frame.tag > 0, let (process, _) = outermost.thread else { return }
    if how.isTimed, frame.isStartKnown {
      pool.add(
        process.nanoseconds(ofUnits: time - frame.start),
        waited: process.nanoseconds(ofUnits: frame.waited), to: frame.tag)
    }
    guard let place = roots.removeValue(forKey: frame.tag) else { return }
    trees[place] = pool.tree(at: frame.tag)
    guard how == .returned else { return }
    results[place] = values.result(frame.function, process: process, index: place.process)
  }

  mutating func passed(_ stack: borrowing CallStack, until time: ClockUnits) {
    if time <= bounds.from || stack.time >= bounds.to || stack.time == .zero { return }
    let (from, to) = (stack.time, time)
    if !windows.contains(where: { from < $0.to && to > $0.from }) { return }
    guard let (process, thread) = outermost.thread else { return }
    for (index, window) in windows.enumerated()
    where stack.time < window.to && time > window.from {
      let isOwn =
        window.place.process == outermost.place.process
        && window.place.thread == outermost.place.thread
      if isOwn { continue }
      let part = min(time, window.to) - max(stack.time, window.from)
      watches[index].add(process.nanoseconds(ofUnits: part), stack, thread, process)
    }
  }

  var wantsValues: Bool { values.isOn }

  mutating func values(_ values: RecordedValues) { self.values.keep(values) }

  mutating func add(_ next: TreeBuilder) {
    trees.merge(next.trees) { first, _ in first }
    arguments.merge(next.arguments) { first, _ in first }
    results.merge(next.results) { first, _ in first }
    for (index, watch) in next.watches.enumerated() { watches[index].add(watch) }
  }

  /// Adds what was found of a call.
  func complete(_ call: inout SlowCalls.Call) {
    call.tree = trees[call.place] ?? SlowTree()
    call.arguments = arguments[call.place]
    call.result = results[call.place]
  }

  func meanwhile(_ index: Int) -> [Meanwhile] { watches[index].sorted }
}
