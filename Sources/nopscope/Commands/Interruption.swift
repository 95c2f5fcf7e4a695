// SPDX-License-Identifier: Apache-2.0

import CRecorder
import CommandOutput
import Glibc

/// Ctrl-C and its like, blocked while something is written that must not stay incomplete.
final class Interruption {
  struct Caught: Error { var signal: Int32 }

  private var held = sigset_t()

  /// From now on they stay pending until `check` is called.
  init() {
    sigemptyset(&held)
    for signal in [SIGINT, SIGTERM, SIGHUP] { sigaddset(&held, signal) }
    pthread_sigmask(SIG_BLOCK, &held, nil)
    // A pipe whose reader has closed it makes write(2) fail, and does not end us.
    signal(SIGPIPE, SIG_IGN)
  }

  /// Throws `Caught` where one has come.
  func check() throws {
    var atOnce = timespec()
    let signal = sigtimedwait(&held, nil, &atOnce)
    if signal > 0 { throw Caught(signal: signal) }
  }

  /// Ends this process as the signal would have.
  func die(of caught: Caught) -> Never {
    pthread_sigmask(SIG_UNBLOCK, &held, nil)
    nrc_die_of(caught.signal)
    exit(128 + caught.signal)
  }
}
