// SPDX-License-Identifier: Apache-2.0

import Glibc
import Synchronization

/// Shows a waiting user on stderr how far the work is; nothing where stderr is no terminal.
///
/// It is one line that is overwritten each time, and appears from the second second on: how much is done,
/// and as long as nobody has said that, for how long it has been done.
public final class Progress: Sendable {
  private struct State {
    /// When the line was written last; nil: it is not there.
    var last: ContinuousClock.Instant?
    /// A fraction is known.
    var hasFraction = false
    var isOver = false
  }

  private let isShown = isatty(2) == 1
  private let start = ContinuousClock.now
  private let state = Mutex(State())
  private let what: String

  /// Progress of `what`, which begins each line. `countsSeconds`: work of which no fraction is known yet
  /// shows for how long it goes on; a thread does that, until `finish`.
  public init(_ what: String, countsSeconds: Bool = true) {
    self.what = what
    if countsSeconds && isShown { ProgressClock.start(self) }
  }

  /// How much is done, from 0 to 1.
  public func show(_ fraction: Double) {
    guard isShown else { return }
    let now = ContinuousClock.now
    if now - start < .seconds(1) { return }
    state.withLock { state in
      state.hasFraction = true
      if let last = state.last, now - last < .milliseconds(100) { return }
      showLine("\(Int(fraction * 100)) %", &state, now)
    }
  }

  /// Shows the seconds, where no fraction is known; false: it is over.
  fileprivate func tick() -> Bool {
    let now = ContinuousClock.now
    let seconds = (now - start).components.seconds
    return state.withLock { state in
      let isNew = state.last.map { ($0 - start).components.seconds < seconds } ?? true
      if !state.isOver && !state.hasFraction && seconds > 0 && isNew {
        showLine("\(seconds) s", &state, now)
      }
      return !state.isOver
    }
  }

  private func showLine(
    _ text: String, _ state: inout State, _ now: ContinuousClock.Instant
  ) {
    state.last = now
    write("\r\(what): \(text)\u{1b}[K", to: 2)
  }

  /// What is done now, on a line of its own.
  public func say(_ step: String) {
    if isShown { write("\(what): \(step)\n", to: 2) }
  }

  /// Takes the line away.
  public func finish() {
    state.withLock { state in
      if state.last != nil { write("\r\u{1b}[K", to: 2) }
      state.last = nil
      state.isOver = true
    }
  }
}

/// The thread that counts a progress's seconds. It ends when that is over, or is gone.
private final class ProgressClock: @unchecked Sendable {
  // Written before the thread starts, and never again: weak references may be read by any thread.
  private weak var progress: Progress?

  private init(_ progress: Progress) { self.progress = progress }

  static func start(_ progress: Progress) {
    let clock = Unmanaged.passRetained(ProgressClock(progress))
    var thread = pthread_t()
    let error = pthread_create(
      &thread, nil,
      { raw in
        guard let raw else { return nil }
        let clock = Unmanaged<ProgressClock>.fromOpaque(raw).takeRetainedValue()
        while clock.progress?.tick() == true { usleep(100_000) }
        return nil
      }, clock.toOpaque())
    if error == 0 { pthread_detach(thread) } else { clock.release() }
  }
}
