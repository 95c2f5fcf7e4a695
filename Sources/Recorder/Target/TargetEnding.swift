// SPDX-License-Identifier: Apache-2.0

/// How the program ended.
public enum TargetEnding: Equatable, Sendable {
  case exit(Int32)
  case signal(Int32)

  /// From waitpid(2)'s status.
  init(waitStatus status: Int32) {
    let signal = status & 0x7f
    self = signal == 0 ? .exit(status >> 8 & 0xff) : .signal(signal)
  }

  /// As a shell has it: 128 and the signal's number for a signal.
  public var status: Int32 {
    switch self {
    case .exit(let status): status
    case .signal(let signal): 128 + signal
    }
  }
}
