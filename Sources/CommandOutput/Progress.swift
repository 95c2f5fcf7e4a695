// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Shows a waiting user on stderr how far the work is; nothing where stderr is no terminal.
///
/// A fraction is one line that is overwritten each time. It appears from the second second on.
public final class Progress {
  private let isShown = isatty(2) == 1
  private let start = ContinuousClock.now
  private var last: ContinuousClock.Instant?
  private let what: String

  /// Progress of `what`, which begins each line.
  public init(_ what: String) { self.what = what }

  /// How much is done, from 0 to 1.
  public func show(_ fraction: Double) {
    guard isShown else { return }
    let now = ContinuousClock.now
    if now - start < .seconds(1) || last.map({ now - $0 < .milliseconds(100) }) == true { return }
    last = now
    write("\r\(what): \(Int(fraction * 100)) %\u{1b}[K", to: 2)
  }

  /// What is done now, on a line of its own.
  public func say(_ step: String) {
    if isShown { write("\(what): \(step)\n", to: 2) }
  }

  /// Takes the line away.
  public func finish() {
    if last != nil { write("\r\u{1b}[K", to: 2) }
    last = nil
  }
}
