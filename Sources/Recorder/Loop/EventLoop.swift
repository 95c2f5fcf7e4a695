// SPDX-License-Identifier: Apache-2.0

import CRecorder
import Glibc

/// Waits until a descriptor is readable or a time has come, and calls the handler that was given
/// for it: one thread, one epoll(7) set.
///
/// A turn costs what is ready in it, however much is waited for.
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

  private let set: Descriptor
  private var sources: [UInt64: Source] = [:]
  /// Ascending by deadline, then by number.
  private var timers: [Timer] = []
  /// Of each timer.
  private var deadlines: [UInt64: UInt64] = [:]
  private var quietWork: [QuietWork] = []
  private var lastNumber: UInt64 = 0
  /// When something was ready last.
  private var lastReady = nrc_monotonic_nanoseconds()

  /// How many descriptors are served in one turn; more wait for the next.
  private static let mostInTurn = 128

  /// A loop that waits for nothing yet; throws where there is no descriptor for it.
  public init() throws {
    set = Descriptor(nrc_wait_set())
    let error = errnoNow()
    if set.number < 0 {
      throw ServerError(description: "cannot wait for descriptors: \(systemError(error))")
    }
  }

  /// Calls `handler` in each turn in which `descriptor` is readable, has ended or has failed.
  ///
  /// The descriptor stays its owner's, who removes it here before closing it. Nil where the kernel
  /// has no memory to wait for it.
  public func add(_ descriptor: Int32, _ handler: @escaping () -> Void) -> Registration? {
    lastNumber += 1
    guard nrc_wait_add(set.number, descriptor, lastNumber) == 0 else { return nil }
    sources[lastNumber] = Source(descriptor: descriptor, handler: handler)
    return Registration(number: lastNumber)
  }

  /// Calls `handler` once, in the first turn that ends at or after `deadline` (CLOCK_MONOTONIC).
  @discardableResult
  public func at(_ deadline: UInt64, _ handler: @escaping () -> Void) -> Registration {
    lastNumber += 1
    let timer = Timer(number: lastNumber, deadline: deadline, handler: handler)
    timers.insert(timer, at: place(deadline, lastNumber))
    deadlines[lastNumber] = deadline
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
  public func remove(_ registration: Registration?) {
    guard let number = registration?.number else { return }
    if let source = sources.removeValue(forKey: number) {
      nrc_wait_remove(set.number, source.descriptor)
    } else if let deadline = deadlines.removeValue(forKey: number) {
      timers.remove(at: place(deadline, number))
    }
  }

  /// Where the timer is, or would be.
  private func place(_ deadline: UInt64, _ number: UInt64) -> Int {
    var low = 0
    var high = timers.count
    while low < high {
      let middle = (low + high) / 2
      let timer = timers[middle]
      if (timer.deadline, timer.number) < (deadline, number) {
        low = middle + 1
      } else {
        high = middle
      }
    }
    return low
  }
}

// MARK: - A turn

extension EventLoop {
  /// Waits for what was added, at most so long (-1: no limit), and calls the handlers.
  public func turn(milliseconds limit: Int32) {
    let ready = wait(timeout(limit))
    if let ready, !ready.isEmpty {
      lastReady = nrc_monotonic_nanoseconds()
      // An earlier handler may have removed a later one.
      for number in ready.sorted() { sources[number]?.handler() }
    }
    callTimers()
    if ready?.isEmpty == true { doQuietWork() }
  }

  /// What is ready; nil where a signal came instead.
  private func wait(_ milliseconds: Int32) -> [UInt64]? {
    var count: Int32 = 0
    let numbers = [UInt64](unsafeUninitializedCapacity: Self.mostInTurn) { buffer, filled in
      count = nrc_wait(set.number, buffer.baseAddress, Int32(buffer.count), milliseconds)
      filled = Int(max(0, count))
    }
    return count < 0 ? nil : numbers
  }

  /// In milliseconds, rounded up: a deadline is not met early.
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
      guard deadlines[timer.number] != nil else { continue }
      remove(Registration(number: timer.number))
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
