// SPDX-License-Identifier: Apache-2.0

/// Which engine still has a record of a site whose module was unloaded.
public enum LabEngine: String, CaseIterable, Sendable, Encodable {
  /// 2.6.27 as it was.
  case shipped
  /// 2.6.27, with the bytes verified by Capstone before each compare-and-swap.
  case verified
  /// 2.6.27, with its records released when their module goes.
  case zapped
  /// 2.6.28.
  case `static`
}

/// What was mapped at the stale address.
public enum Occupant: String, CaseIterable, Sendable, Encodable {
  case nothing
  case otherBytes = "other-bytes"
  case sameBytes = "same-bytes"
  case otherModule = "other-module"
  case sameModule = "same-module"
  case device
}

/// What the record said when its module was unloaded.
public enum RecordState: String, CaseIterable, Sendable, Encodable {
  case pending, converted, enabled
}

/// What the engine did at the stale address.
public enum Outcome: String, CaseIterable, Sendable, Encodable {
  /// No access that could change anything.
  case untouched
  /// The access faulted; the fix-up caught it.
  case fault
  /// A locked write cycle took place and left the value as it was.
  case mismatchWriteCycle = "mismatch-write-cycle"
  /// Foreign memory was changed.
  case overwritten
  /// A device register was read or written.
  case deviceAccess = "device-access"
  /// The function is called, and its site stays a slow call.
  case neverNopped = "never-nopped"
  /// This state does not exist at an unload.
  case unreachable
}

/// One cell of the table: what one engine did to one occupant, by one state of its record. All of
/// it was measured in this process.
public struct UnloadCell: Sendable, Encodable {
  /// Whose record it was.
  public var engine: LabEngine
  /// What stood at the address.
  public var occupant: Occupant
  /// The state of the record.
  public var record: RecordState
  /// What was seen.
  public var outcome: Outcome
  /// Reads of the device's registers.
  public var deviceReads: UInt64
  /// Writes of the device's registers.
  public var deviceWrites: UInt64
  /// Bytes of the occupant (of a device: of its registers and flash) that differ from before.
  public var bytesChanged: Int
  /// What the two designs make of it.
  public var expected: Outcome
  /// Whether that was seen.
  public var held: Bool
  /// Reads and write cycles that the occupant's page saw; nil where it cannot be watched.
  public var reads: UInt64?
  /// Write cycles that the page saw; nil where it cannot be watched.
  public var writeCycles: UInt64?
  /// The kernel put the occupant on the module's address with no hint.
  public var landed: Bool
  /// The same module again: whether its site became a nop after it was called.
  public var noppedAgain: Bool?
}

extension LabEngine {
  /// As the demo names it.
  public var title: String {
    switch self {
    case .shipped: "2.6.27 as shipped"
    case .verified: "2.6.27 + Capstone"
    case .zapped: "2.6.27 + the zap"
    case .static: "2.6.28"
    }
  }
}

extension UnloadCell {
  /// Whether there is such a record at an unload.
  public var isReachable: Bool { outcome != .unreachable }

  /// Whether the stale record wrote to what stood at the address, with or without a change.
  public var didWrite: Bool { bytesChanged > 0 || writeCycles ?? 0 > 0 || deviceWrites > 0 }

  /// What follows from the two designs (`docs/story.md` has the reasons).
  public static func expectation(
    _ engine: LabEngine, _ occupant: Occupant, _ record: RecordState
  ) -> Outcome {
    switch engine {
    case .static: return record == .pending ? .unreachable : .untouched
    case .zapped: return .untouched
    case .shipped, .verified: break
    }
    switch occupant {
    case .nothing: return .fault
    case .sameBytes: return .overwritten
    case .device: return .deviceAccess
    case .otherBytes, .otherModule:
      return engine == .shipped ? .mismatchWriteCycle : .untouched
    case .sameModule: return sameModule(engine, record)
    }
  }

  private static func sameModule(_ engine: LabEngine, _ record: RecordState) -> Outcome {
    switch record {
    case .pending: .overwritten
    case .converted: .neverNopped
    case .enabled: engine == .shipped ? .mismatchWriteCycle : .untouched
    }
  }
}
