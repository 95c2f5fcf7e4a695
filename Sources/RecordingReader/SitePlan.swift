// SPDX-License-Identifier: Apache-2.0

/// What was planned for each call site of a module, as runs.
public struct SitePlan: Sendable, Equatable {
  public enum Choice: Sendable {
    /// To be armed.
    case wanted
    /// No rule wanted it.
    case unwanted
    /// The module was not touched.
    case leftAlone
  }

  private struct Run: Sendable, Equatable {
    /// Of the run, exclusive.
    var end: Int
    var choice: Choice
  }

  private var runs: [Run] = []

  /// Reads `12a3u`: runs of a number, left out where it is 1, and a letter.
  ///
  /// Nil where it is anything else, or its runs are not `sites` in all.
  init?(_ text: String, sites: Int) {
    var end = 0
    var count = 0
    var hasDigits = false
    for byte in text.utf8 {
      if let digit = Self.digit(byte) {
        let (tens, overflow) = count.multipliedReportingOverflow(by: 10)
        guard !overflow, tens <= sites else { return nil }
        count = tens + digit
        hasDigits = true
        continue
      }
      guard let choice = Self.choice(byte) else { return nil }
      let length = hasDigits ? count : 1
      guard length > 0, length <= sites - end else { return nil }
      end += length
      runs.append(Run(end: end, choice: choice))
      count = 0
      hasDigits = false
    }
    guard end == sites, !hasDigits else { return nil }
  }

  private static func digit(_ byte: UInt8) -> Int? {
    byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") ? Int(byte - UInt8(ascii: "0")) : nil
  }

  private static func choice(_ letter: UInt8) -> Choice? {
    switch letter {
    case UInt8(ascii: "a"): .wanted
    case UInt8(ascii: "u"): .unwanted
    case UInt8(ascii: "l"): .leftAlone
    default: nil
    }
  }

  /// The choice for each of the first `count` sites.
  func forEach(upTo count: Int, _ body: (Range<Int>, Choice) -> Void) {
    var start = 0
    for run in runs where start < count {
      body(start..<min(run.end, count), run.choice)
      start = run.end
    }
  }
}

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

extension ModuleRecord {
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
    return armed == 0 && status != Self.statusWhenDone ? .notArmed : .unknown
  }

  /// What `status` says where nothing went wrong.
  static let statusWhenDone = "ok"
}

/// Places that looked like call sites and are none, for one reason.
public struct SkippedReason: Sendable, Equatable, Codable {
  /// One line; not safe for a terminal as it is.
  public var reason: String
  public var count: Int

  public init(reason: String, count: Int) {
    self.reason = reason
    self.count = count
  }
}
