// SPDX-License-Identifier: Apache-2.0

import CProcessors
import Glibc

/// How many threads read a recording, and how it is divided among them.
///
/// What is read depends on how the recording is divided at most; on how many read it, never.
public struct ReadingWorkers: Sendable {
  /// One for each processor that this process may use.
  public static let all = ReadingWorkers(count: min(64, Int(nproc_usable())))

  /// At most so many threads read at the same time.
  public var count: Int
  /// A part of the recording for one worker has so many chunks, if there are as many.
  ///
  /// 32 are 2 MiB, and take longer to read than a thread takes to start.
  public var leastChunks: Int

  /// So many workers, for parts of so many chunks or more.
  public init(count: Int, leastChunks: Int = 32) {
    self.count = max(1, count)
    self.leastChunks = max(1, leastChunks)
  }
}

/// A thread of this process that runs one closure.
struct WorkerThread {
  private let thread: pthread_t

  private final class Body: Sendable {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
  }

  /// As large as the first thread's usually is: demangling a long name needs some of it.
  private static let stackSize = 8 << 20

  /// Nil: the system gives no thread.
  init?(_ body: @escaping @Sendable () -> Void) {
    var attributes = pthread_attr_t()
    guard pthread_attr_init(&attributes) == 0 else { return nil }
    defer { pthread_attr_destroy(&attributes) }
    pthread_attr_setstacksize(&attributes, Self.stackSize)
    var thread = pthread_t()
    let context = Unmanaged.passRetained(Body(body))
    let error = pthread_create(
      &thread, &attributes,
      { context in
        guard let context else { return nil }
        Unmanaged<Body>.fromOpaque(context).takeRetainedValue().run()
        return nil
      }, context.toOpaque())
    if error != 0 {
      context.release()
      return nil
    }
    self.thread = thread
  }

  /// Returns when the closure has.
  func join() { pthread_join(thread, nil) }
}
