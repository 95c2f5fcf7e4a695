// SPDX-License-Identifier: Apache-2.0

import RecordingSchema

/// What became of a call site.
public enum SiteState: UInt8, Sendable {
  /// The recording is older than the plan in it, and does not tell.
  case unknown
  /// A nop: no rule wanted it.
  case unwanted
  /// Wanted, and could not be armed: the module's status says why.
  case notArmed
  /// Its calls were recorded.
  case armed
}

extension RecordedModule {
  /// What became of the module's sites from the first to `count`, as runs in order.
  public func forEachState(upTo count: Int, _ body: (Range<Int>, SiteState) -> Void) {
    let count = min(count, sites)
    guard let plan else {
      if count > 0 { body(0..<count, stateOfAll) }
      return
    }
    plan.forEach(upTo: count) { range, choice in
      switch choice {
      case .unwanted: body(range, .unwanted)
      case .leftAlone: body(range, .notArmed)
      // A module's sites are armed all or none.
      case .wanted: body(range, armed > 0 ? .armed : .notArmed)
      }
    }
  }

  /// Without a plan only the two ends are certain.
  private var stateOfAll: SiteState {
    if armed == sites { return .armed }
    return armed == 0 && status != ModuleLoad.statusWhenDone ? .notArmed : .unknown
  }
}
