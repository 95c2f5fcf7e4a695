// SPDX-License-Identifier: Apache-2.0

import CRecorder
import Glibc

/// Waits until a descriptor is readable or a time has come, and calls the handler that was given
/// for it: one thread, one poll(2).
///
/// A turn waits, then calls the handlers of descriptors in the order in which they were added, then
/// those of times in the order of their deadlines. Where nothing was ready, it does what was left
/// for a quiet moment. A handler may add and remove anything; it must not block, for the others
/// wait.
public final class EventLoop {
  /// Something that was added, to remove it again.
  public struct Registration: Hashable, Sendable {
    fileprivate let number: UInt64
  }

  private struct Source {
    let number: UInt64
    let descriptor: Int32
    let handler: () -> Void
  }

  private struct Timer {
    let number: UInt64
    let deadline: UInt64
    let handler: () -> Void
  }

  private struct QuietWork {
    let nanoseconds: UInt64
    let work: () -> Void
  }

  /// Ascending by number.
  private var sources: [Source] = []
  /// Ascending by deadline, then by number.
  private var timers: [Timer] = []
  private var quietWork: [QuietWork] = []
  private var lastNumber: UInt64 = 0
  /// When something was ready last.
  private var lastReady = nrc_monotonic_nanoseconds()

  /// A loop that waits for nothing yet.
  public init() {}

  /// Calls `handler` in each turn in which `descriptor` is readable, has ended or has failed.
  ///
  /// The descriptor stays its owner's, who removes it here before closing it.
  public func add(_ descriptor: Int32, _ handler: @escaping () -> Void) -> Registration {
    lastNumber += 1
    sources.append(Source(number: lastNumber, descriptor: descriptor, handler: handler))
    return Registration(number: lastNumber)
  }

  /// Calls `handler` once, in the first turn that ends at or after `deadline` (CLOCK_MONOTONIC).
  @discardableResult
  public func at(_ deadline: UInt64, _ handler: @escaping () -> Void) -> Registration {
    lastNumber += 1
    let place = timers.firstIndex { $0.deadline > deadline } ?? timers.endIndex
    timers.insert(Timer(number: lastNumber, deadline: deadline, handler: handler), at: place)
    return Registration(number: lastNumber)
  }

  /// The same, so long from now.
  @discardableResult
  public func after(nanoseconds: UInt64, _ handler: @escaping () -> Void) -> Registration {
    at(nrc_monotonic_nanoseconds() &+ nanoseconds, handler)
  }

  /// Does `work` once, as soon as nothing has been ready for so long: for work that no handler
  /// should wait for.
  public func whenQuiet(nanoseconds: UInt64 = 0, _ work: @escaping () -> Void) {
    quietWork.append(QuietWork(nanoseconds: nanoseconds, work: work))
  }

  /// The handler is not called again, not even in a turn in which its descriptor is ready already.
  public func remove(_ registration: Registration) {
    if let index = index(of: registration.number) {
      sources.remove(at: index)
    } else {
      timers.removeAll { $0.number == registration.number }
    }
  }

  private func index(of number: UInt64) -> Int? {
    var low = 0
    var high = sources.count
    while low < high {
      let middle = (low + high) / 2
      if sources[middle].number < number { low = middle + 1 } else { high = middle }
    }
    return low < sources.count && sources[low].number == number ? low : nil
  }
}

// MARK: - A turn

extension EventLoop {
  /// Waits for what was added, at most so long (-1: no limit), and calls the handlers.
  public func turn(milliseconds limit: Int32) {
    var polled = sources.map { pollfd(fd: $0.descriptor, events: Int16(POLLIN), revents: 0) }
    let numbers = sources.map(\.number)
    let count = poll(&polled, nfds_t(polled.count), timeout(limit))
    if count > 0 {
      lastReady = nrc_monotonic_nanoseconds()
      for (entry, number) in zip(polled, numbers) where entry.revents != 0 {
        if let index = index(of: number) { sources[index].handler() }
      }
    }
    callTimers()
    if count == 0 { doQuietWork() }
  }

  /// In poll(2)'s milliseconds, rounded up: a deadline is not met early.
  private func timeout(_ limit: Int32) -> Int32 {
    let quiet = quietWork.map { lastReady &+ $0.nanoseconds }.min()
    guard let next = [quiet, timers.first?.deadline].compactMap({ $0 }).min() else { return limit }
    let now = nrc_monotonic_nanoseconds()
    let milliseconds = Int32(clamping: next > now ? (next - now + 999_999) / 1_000_000 : 0)
    return limit < 0 ? milliseconds : min(limit, milliseconds)
  }

  /// Those that are due now; what their handlers add waits for the next turn.
  private func callTimers() {
    guard let first = timers.first else { return }
    let now = nrc_monotonic_nanoseconds()
    if first.deadline > now { return }
    for timer in timers.prefix(while: { $0.deadline <= now }) {
      // An earlier handler may have removed this one.
      guard let index = timers.firstIndex(where: { $0.number == timer.number }) else { continue }
      timers.remove(at: index)
      timer.handler()
    }
  }

  private func doQuietWork() {
    let quiet = nrc_monotonic_nanoseconds() &- lastReady
    let due = quietWork.filter { $0.nanoseconds <= quiet }
    quietWork.removeAll { $0.nanoseconds <= quiet }
    for one in due { one.work() }
  }
}
