// SPDX-License-Identifier: Apache-2.0

import TextFormat
public import Units

/// The report that a fail-stop engine makes of the first anomaly, in the layout that kernel people
/// know (its lines and their order are those of 2.6.28 and after; the wording of the kinds and
/// phases is what their documentation and users search for).
public struct FtraceBug: Error, Equatable, Sendable, CustomStringConvertible {
  /// What ftrace was doing.
  public enum Phase: String, Sendable {
    case initializing = "Initializing ftrace call sites"
    case toNop = "Setting ftrace call site to NOP"
    case toCall = "Setting ftrace call site to call ftrace function"
    case toOtherCall = "Updating ftrace call site to call a different ftrace function"
  }

  /// What was wrong.
  public enum Kind: String, Sendable {
    case unreadable = "ftrace faulted on modifying"
    case mismatch = "ftrace failed to modify"
    case unwritable = "ftrace faulted on writing"
    case unknown = "ftrace faulted on unknown error"
  }

  /// What the transaction met.
  public var error: PatchError
  /// What ftrace was doing.
  public var phase: Phase
  /// Of the module: run-time minus link-time address.
  public var loadBias: LoadBias
  /// The engine's flags of the site.
  public var recordFlags: UInt32

  /// What was wrong, by the reason of `error`.
  public var kind: Kind {
    switch error.reason {
    case .unreadable: .unreadable
    case .mismatch, .unconfirmed, .readBack: .mismatch
    case .unwritable: .unwritable
    default: .unknown
    }
  }

  /// The report in the layout of the kernel's ftrace_bug, several lines.
  public var description: String {
    var lines = ["------------[ ftrace bug ]------------", kind.rawValue]
    if let offset = error.offset {
      let digits = String((loadBias + offset).rawValue, radix: 16)
      let padded = String(repeating: "0", count: 16 - digits.count) + digits
      lines.append(" [<\(padded)>] \(error.function ?? "?") [\(lastComponent(error.module))]")
    }
    if !error.actual.isEmpty { lines.append(" actual:   \(colons(error.actual))") }
    if !error.expected.isEmpty { lines.append(" expected: \(colons(error.expected))") }
    lines.append(phase.rawValue)
    lines.append("ftrace record flags: \(String(recordFlags, radix: 16))")
    lines.append("the tracer is off for good")
    return lines.joined(separator: "\n")
  }

  private func colons(_ bytes: [UInt8]) -> String {
    hexDigits(bytes, separator: ":")
  }

  private func lastComponent(_ path: String) -> Substring {
    path.split(separator: "/").last ?? "program"
  }
}
