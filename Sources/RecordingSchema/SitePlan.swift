// SPDX-License-Identifier: Apache-2.0

/// What was planned for each call site of a module, in the order of its table.
///
/// A choice, not an action: a site that is a nop in the file and not wanted is left as it is, and
/// still not wanted.
public struct SitePlan: Sendable, Equatable {
  /// What was planned for a site.
  public enum Choice: UInt8, Sendable {
    /// To be armed. Whether it was, the module's status says.
    case wanted = 0x61  // a
    /// A nop: no rule selects it.
    case unwanted = 0x75  // u
    /// Not touched: the module was left alone.
    case leftAlone = 0x6c  // l
  }

  private struct Run: Sendable, Equatable {
    /// Of the run, exclusive.
    var end: Int
    var choice: Choice
  }

  private var runs: [Run] = []

  /// No sites.
  public init() {}

  /// Sites in all.
  public var count: Int { runs.last?.end ?? 0 }

  /// Adds the choice for the next site.
  public mutating func add(_ choice: Choice) {
    if let last = runs.last, last.choice == choice {
      runs[runs.count - 1].end += 1
    } else {
      runs.append(Run(end: count + 1, choice: choice))
    }
  }

  /// Calls `body` with the choice for each of the first `count` sites, in runs.
  public func forEach(upTo count: Int, _ body: (Range<Int>, Choice) -> Void) {
    var start = 0
    for run in runs where start < count {
      body(start..<min(run.end, count), run.choice)
      start = run.end
    }
  }
}

// MARK: - Text

extension SitePlan {
  /// `12a3u`: runs of a number, left out where it is 1, and a letter.
  public var text: String {
    var bytes: [UInt8] = []
    var start = 0
    for run in runs {
      if run.end - start > 1 { bytes += String(run.end - start).utf8 }
      bytes.append(run.choice.rawValue)
      start = run.end
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// Nil where `text` is anything but runs, or they are not `sites` in all.
  public init?(_ text: String, sites: Int) {
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
      guard let choice = Choice(rawValue: byte) else { return nil }
      let length = hasDigits ? count : 1
      let end = runs.last?.end ?? 0
      guard length > 0, length <= sites - end else { return nil }
      runs.append(Run(end: end + length, choice: choice))
      count = 0
      hasDigits = false
    }
    guard self.count == sites, !hasDigits else { return nil }
  }

  private static func digit(_ byte: UInt8) -> Int? {
    byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") ? Int(byte - UInt8(ascii: "0")) : nil
  }
}
