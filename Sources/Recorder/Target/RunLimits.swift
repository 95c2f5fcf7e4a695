// SPDX-License-Identifier: Apache-2.0

import CRecorder
import CRecordingABI
import RecordingSchema

/// Limits of this process (and so of the program's) that affect a recording: one line each, written
/// before the program runs.
public struct RunLimits: Sendable {
  /// Nothing could be recorded.
  public struct TooSmall: Error, CustomStringConvertible {
    /// What the limit is, and what was expected.
    public let description: String
  }

  /// `ulimit -f`, of one file; nil: none.
  public var fileBytes: UInt64?
  /// `ulimit -v`; nil: none.
  public var addressBytes: UInt64?

  /// Below it the agent hooks no returns.
  private static let roomyBytes = NREC_ROOMY_BYTES
  /// The smallest arena in which a thread finds room.
  private static let leastBytes = nrc_arena_least_bytes()

  /// Limits as setrlimit has them; nil: none.
  public init(fileBytes: UInt64?, addressBytes: UInt64?) {
    self.fileBytes = fileBytes
    self.addressBytes = addressBytes
  }

  /// Those that hold now.
  public static var current: RunLimits {
    func known(_ limit: UInt64) -> UInt64? { limit == .max ? nil : limit }
    return RunLimits(
      fileBytes: known(nrc_file_size_limit()), addressBytes: known(nrc_address_space_limit()))
  }

  /// Whether anything can be recorded with `options`.
  /// - Throws: ``TooSmall``.
  public func check(_ options: RecordOptions) throws {
    let least = max(Self.leastBytes, options.overwriteBytes ?? 0)
    guard let limit = fileBytes, limit < least else { return }
    throw TooSmall(
      description: "files may have \(limit) bytes (ulimit -f), expected at least \(least) for one "
        + "thread's buffer: raise it"
        + (least > Self.leastBytes ? ", or give --overwrite a smaller size" : ""))
  }

  /// What they mean for a recording with `options`.
  public func warnings(_ options: RecordOptions) -> [String] {
    var lines: [String] = []
    if let fileBytes {
      lines.append(
        "files may have \(fileBytes) bytes (ulimit -f): what does not fit into a process's file of "
          + "events is counted as lost")
    }
    if let addressBytes, let line = addressLine(addressBytes, options.tracer) {
      lines.append(line)
    }
    return lines
  }

  private func addressLine(_ limit: UInt64, _ tracer: Tracer) -> String? {
    if !tracer.hooksReturns || limit >= Self.roomyBytes { return nil }
    return "address space is limited to \(limit) bytes (ulimit -v), expected \(Self.roomyBytes) "
      + "for hooked returns: calls are recorded without times: raise it, or use --tracer callgraph, "
      + "function or hits"
  }
}
