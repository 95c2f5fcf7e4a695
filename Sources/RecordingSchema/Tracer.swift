// SPDX-License-Identifier: Apache-2.0

import CRecordingABI

/// What an armed call site does; its raw value is its name on the command line and in session.json.
public enum Tracer: String, Sendable, CaseIterable {
  /// Entry and exit of every call, with their times.
  case functionGraph = "function_graph"
  /// Entry and caller of every call, with its time.
  case function
  /// The merged call tree with exact counts, without times.
  case callGraph = "callgraph"
  /// Calls and times of each function and thread, merged as they happen.
  case profile
  /// Calls of each function and thread.
  case hits

  /// `NREC_TRACER_*`: how the event file's header and the agent have it.
  public var code: UInt32 {
    switch self {
    case .functionGraph: UInt32(NREC_TRACER_GRAPH)
    case .function: UInt32(NREC_TRACER_FUNCTION)
    case .callGraph: UInt32(NREC_TRACER_CALLGRAPH)
    case .profile: UInt32(NREC_TRACER_PROFILE)
    case .hits: UInt32(NREC_TRACER_HITS)
    }
  }

  /// Nil where no tracer has this code.
  public init?(code: UInt32) {
    guard let tracer = Self.allCases.first(where: { $0.code == code }) else { return nil }
    self = tracer
  }

  /// As in session.json and on the command line.
  public var name: String { rawValue }

  /// Whether it sees returns: what depth, graph functions and thresholds are made of.
  public var seesReturns: Bool { self != .function && self != .hits }
  /// Whether it replaces return addresses, for which the agent reserves address space.
  public var hooksReturns: Bool { self == .functionGraph || self == .profile }
  /// Whether it measures how long a call took.
  public var measuresCalls: Bool { self == .functionGraph || self == .profile }
  /// Whether it leaves a stream of events, not sums.
  public var writesEvents: Bool { self == .functionGraph || self == .function }
}
