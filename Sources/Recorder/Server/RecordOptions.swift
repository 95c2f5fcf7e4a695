// SPDX-License-Identifier: Apache-2.0

import CRecordingABI
public import Filters
import RecordingSchema

/// What asks for snapshots of the rings, and how many are taken.
public struct SnapshotOptions: Sendable {
  /// A call of these that takes longer; empty: none does.
  public var functions: [FilterRule] = []
  /// Longer than this.
  public var limitNanoseconds: UInt64 = 0
  /// As it was given; nil: no function asks for one.
  public var text: String?
  /// A signal to nopscope that asks for one; nil: none does.
  public var signal: Int32?
  /// At most.
  public var most = 10

  /// None are taken.
  public init() {}
}

/// What a recording is to hold.
public struct RecordOptions: Sendable {
  /// What is written.
  public var tracer = Tracer.functionGraph
  /// Which functions are recorded.
  public var filter = SiteFilter()
  /// Whose arguments and results are recorded.
  public var arguments: [ArgumentRule] = []
  /// Empty: every thread is recorded.
  public var threads: [ThreadRule] = []
  /// 0: no limit.
  public var maximumDepth: UInt32 = 0
  /// Calls shorter than this are not recorded; 0: all are.
  public var thresholdNanoseconds: UInt64 = 0
  /// Whether it is recorded when threads left the CPU.
  public var recordsSwitches = true
  /// Flight recorder: bytes kept of each thread; nil: everything is kept.
  public var overwriteBytes: UInt64?
  /// What asks for snapshots of the rings.
  public var snapshots = SnapshotOptions()
  /// When it begins and ends.
  public var triggers = Triggers()

  /// All functions of all threads by function_graph.
  public init() {}

  /// What session.json says of them: a reader has to know why a call is not there.
  var session: Session.Options {
    func texts(_ rules: [FilterRule]) -> [String] { rules.map(\.text) }
    var session = Session.Options()
    session.filter = texts(filter.filter)
    session.notrace = texts(filter.notrace)
    session.graph = texts(filter.graph)
    session.threads = threads.map(\.text)
    session.maximumDepth = UInt64(maximumDepth)
    session.thresholdNanoseconds = thresholdNanoseconds
    session.overwriteBytes = overwriteBytes
    if triggers.delayNanoseconds > 0 { session.delayNanoseconds = triggers.delayNanoseconds }
    session.durationNanoseconds = triggers.durationNanoseconds
    session.snapshotOn = snapshots.text
    if !arguments.isEmpty { session.arguments = arguments.map(\.text) }
    if !triggers.startOn.isEmpty { session.startOn = texts(triggers.startOn) }
    if !triggers.stopOn.isEmpty { session.stopOn = texts(triggers.stopOn) }
    return session
  }

  /// The answer to a HELLO.
  func config(incarnation: UInt32, clock: TraceClock) -> nrec_config {
    var config = nrec_config()
    config.message = UInt32(NREC_MESSAGE_CONFIG)
    config.version = UInt32(NREC_MESSAGE_VERSION)
    config.tracer = tracer.code
    config.flags = overwriteBytes == nil ? 0 : UInt32(NREC_FLAG_OVERWRITE)
    config.overwrite_bytes = overwriteBytes ?? 0
    config.incarnation = incarnation
    config.maximum_depth = maximumDepth
    config.only_in_graph = filter.graph.isEmpty ? 0 : 1
    config.units_per_second = clock.units(nanoseconds: 1_000_000_000).rawValue
    if thresholdNanoseconds > 0 {
      config.threshold = max(1, clock.units(nanoseconds: thresholdNanoseconds).rawValue)
    }
    config.reads_values = arguments.isEmpty ? 0 : 1
    config.is_gated = triggers.isGated ? 1 : 0
    if snapshots.limitNanoseconds > 0 || !snapshots.functions.isEmpty {
      config.snapshot_limit = max(1, clock.units(nanoseconds: snapshots.limitNanoseconds).rawValue)
    }
    config.thread_rules = UInt32(threads.count)
    withUnsafeMutableBytes(of: &config.threads) { bytes in
      let rules = bytes.bindMemory(to: nrec_thread_rule.self)
      for (index, rule) in threads.enumerated() { rules[index] = rule.message }
    }
    return config
  }
}
