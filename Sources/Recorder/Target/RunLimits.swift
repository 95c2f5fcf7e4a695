// SPDX-License-Identifier: Apache-2.0

import CRecorder
import CRecordingABI
import RecordingSchema

/// Limits of this process (and so of the program's) that affect a recording: one line each, written
/// before the program runs.
public struct RunLimits: Sendable {
  /// `ulimit -f`, of one file; nil: none.
  public var fileBytes: UInt64?
  /// `ulimit -v`; nil: none.
  public var addressBytes: UInt64?

  /// Below it the agent hooks no returns.
  private static let roomyBytes = NREC_ROOMY_BYTES
  /// The smallest memory file in which a thread finds room.
  private static let ringBytes = 2 * UInt64(NREC_MEMORY_CHUNK)

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

  /// What they mean for a recording with `options`.
  public func warnings(_ options: RecordOptions) -> [String] {
    var lines: [String] = []
    if let fileBytes { lines.append(fileLine(fileBytes, options)) }
    if let addressBytes, let line = addressLine(addressBytes, options.tracer) {
      lines.append(line)
    }
    return lines
  }

  private func fileLine(_ limit: UInt64, _ options: RecordOptions) -> String {
    let line = "files may have \(limit) bytes (ulimit -f): "
    let wanted = options.overwriteBytes ?? 0
    if options.tracer.writesEvents, limit < Self.ringBytes || limit < wanted {
      let least = max(Self.ringBytes, wanted)
      return line + "expected at least \(least) for one thread's buffer: "
        + "nothing will be recorded, calls are counted as lost: raise it"
    }
    return line + "what does not fit into a process's file of events is counted as lost"
  }

  private func addressLine(_ limit: UInt64, _ tracer: Tracer) -> String? {
    if !tracer.hooksReturns || limit >= Self.roomyBytes { return nil }
    return "address space is limited to \(limit) bytes (ulimit -v), expected \(Self.roomyBytes) "
      + "for hooked returns: calls are recorded without times: raise it, or use --tracer callgraph, "
      + "function or hits"
  }
}
