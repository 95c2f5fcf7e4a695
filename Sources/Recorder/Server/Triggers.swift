// SPDX-License-Identifier: Apache-2.0

import CRecordingABI
public import Filters

/// When a recording begins and ends, where it does not last as long as the program.
public struct Triggers: Sendable {
  /// So long after the program's start it begins; 0: at once.
  public var delayNanoseconds: UInt64 = 0
  /// So long after it began it ends; nil: with the program.
  public var durationNanoseconds: UInt64?
  /// It begins when one of these functions is entered; empty: at once.
  public var startOn: [FilterRule] = []
  /// It ends when one of these functions is entered; empty: with the program.
  public var stopOn: [FilterRule] = []

  /// Functions whose calls are timed for snapshots.
  var timed: [FilterRule] = []

  /// From the program's start to its end.
  public init() {}

  /// Whether agents have to look at the gate.
  var isGated: Bool {
    delayNanoseconds > 0 || durationNanoseconds != nil || !startOn.isEmpty || !stopOn.isEmpty
  }

  /// Whether a function's name matters.
  var namesFunctions: Bool { !startOn.isEmpty || !stopOn.isEmpty || !timed.isEmpty }

  /// The NREC_SITE_* of a function's call site.
  func marks(function: String, module: ModuleSpellings) -> UInt8 {
    func are(_ rules: [FilterRule]) -> Bool {
      !rules.isEmpty
        && SiteFilter(filter: rules).choice(function: function, module: module) == .wanted
    }
    var marks: UInt8 = are(startOn) ? UInt8(NREC_SITE_START) : 0
    if are(stopOn) { marks |= UInt8(NREC_SITE_STOP) }
    if are(timed) { marks |= UInt8(NREC_SITE_GRAPH) }
    return marks
  }
}
