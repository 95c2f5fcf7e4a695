// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A thread that is joined.
struct SoakThread {
  private let thread: pthread_t

  private final class Body {
    let run: () -> Void
    init(_ run: @escaping () -> Void) { self.run = run }
  }

  init(_ body: @escaping () -> Void) throws(SoakDeviation) {
    var thread = pthread_t()
    let context = Unmanaged.passRetained(Body(body)).toOpaque()
    let error = pthread_create(
      &thread, nil,
      { context in
        guard let context else { return nil }
        Unmanaged<Body>.fromOpaque(context).takeRetainedValue().run()
        return nil
      }, context)
    guard error == 0 else {
      throw SoakDeviation(description: "no thread: \(String(cString: strerror(error)))")
    }
    self.thread = thread
  }

  func join() { pthread_join(thread, nil) }
}
