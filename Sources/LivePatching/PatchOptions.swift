// SPDX-License-Identifier: Apache-2.0

import CPatchCore

/// How a transaction is made safe against running threads. `poke.h` has the steps.
public enum PatchProtocol: Int32, Sendable, CaseIterable {
  /// The jump guard where every site allows it, else stop-machine.
  case automatic
  case stopMachine
  case jumpGuard
  case breakpoint
  /// Plain writes: only before the module's first instruction runs.
  case none
}

/// How bytes reach read-only text.
public enum TextWriter: Int32, Sendable, CaseIterable {
  case mprotect = 1
  case processMemory = 2
}

/// How a transaction writes.
public struct PatchOptions: Sendable {
  /// The protocol.
  public var method: PatchProtocol
  /// How the read-only text is written.
  public var writer: TextWriter
  /// How long to wait for a thread to stop.
  public var stopTimeoutMilliseconds: UInt32

  /// The defaults suit any process.
  public init(
    method: PatchProtocol = .automatic, writer: TextWriter = .mprotect,
    stopTimeoutMilliseconds: UInt32 = 1000
  ) {
    self.method = method
    self.writer = writer
    self.stopTimeoutMilliseconds = stopTimeoutMilliseconds
  }
}

/// What a transaction did.
public struct PatchReport: Equatable, Sendable {
  /// Sites that were written: those not already in the wanted state.
  public var sites: Int
  /// The protocol that was used.
  public var method: PatchProtocol
  /// Threads stopped, and threads left asleep in a system call, under stop-machine.
  public var stoppedThreads: Int
  /// Threads left asleep in a system call, under stop-machine.
  public var sleepingThreads: Int
  /// Of them, how many times one was in the middle of a run of nops, or would have returned there
  /// from a signal handler, and was moved to the run's end.
  public var movedThreads: Int
  /// How long the other threads were stopped.
  public var stoppedNanoseconds: UInt64
}
