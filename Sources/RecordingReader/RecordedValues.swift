// SPDX-License-Identifier: Apache-2.0

import CRecordingABI
public import RecordingSchema

/// What a call was given, or what it returned, as the event VALUES has it.
public struct RecordedValues: Sendable, Equatable {
  /// When they were read.
  public enum Moment: UInt8, Sendable {
    case entry = 0
    case exit = 1
  }

  /// Its number in the process.
  public var function: UInt32
  /// When they were read.
  public var moment: Moment
  var bytes: [UInt8]

  /// One behind the other; what is cut off is unreadable, as are those behind it.
  public func decoded(_ types: [ValueType]) -> [RecordedValue] {
    var rest = bytes[...]
    return types.map { type in
      guard type.isRecorded else { return .unreadable }
      guard let mark = rest.popFirst() else { return .unreadable }
      switch Int(mark) {
      case NREC_VALUE_UNREADABLE: return .unreadable
      case NREC_VALUE_NULL: return .null
      default: break
      }
      let isCut = Int(mark) & NREC_VALUE_CUT != 0
      let count = Int(mark & 0x7f)
      guard count <= rest.count else {
        rest = []
        return .unreadable
      }
      let value = rest.prefix(count)
      rest = rest.dropFirst(count)
      return .bytes(value, isCut: isCut)
    }
  }
}

/// One value.
public enum RecordedValue: Sendable, Equatable {
  /// Of a number, in the order of its memory; or a text's, of which there was more where it is cut.
  case bytes(ArraySlice<UInt8>, isCut: Bool)
  /// A null pointer in place of a text.
  case null
  /// Its place is not known, or it could not be read.
  case unreadable
}
