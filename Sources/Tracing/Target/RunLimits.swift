// SPDX-License-Identifier: Apache-2.0

import CRecordingABI
import CTracing

/// Limits of this process (and so of the program's) that a recording will feel: one line each, said
/// before the program runs.
public struct RunLimits: Sendable {
  /// `ulimit -f`, of one file; nil: none.
  public var fileBytes: UInt64?
  /// `ulimit -v`; nil: none.
  public var addressBytes: UInt64?

  /// What the agent reserves for hooked returns: see CSupport/Agent/shadow.c.
  static let reservedBytes: UInt64 = 2 * 0x7f00_0000
  /// A program needs some itself: beyond this nobody will notice.
  private static let roomyBytes: UInt64 = 4 * reservedBytes
  /// The smallest memory file in which a thread finds room.
  private static let ringBytes = 2 * UInt64(NREC_MEMORY_CHUNK)

  public init(fileBytes: UInt64?, addressBytes: UInt64?) {
    self.fileBytes = fileBytes
    self.addressBytes = addressBytes
  }

  /// Those that hold now.
  public static var current: RunLimits {
    func known(_ limit: UInt64) -> UInt64? { limit == .max ? nil : limit }
    return RunLimits(
      fileBytes: known(ntr_file_size_limit()), addressBytes: known(ntr_address_space_limit()))
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
    let line = "address space is limited to \(limit) bytes (ulimit -v): "
    if limit <= Self.reservedBytes {
      return line + "the tracer \(tracer.rawValue) reserves \(Self.reservedBytes) for hooked "
        + "returns: nothing will be recorded: raise it, or use --tracer callgraph, function or hits"
    }
    return line + "\(Self.reservedBytes) of them are reserved for hooked returns: the program may "
      + "find too little: raise it, or use --tracer callgraph, function or hits"
  }
}
