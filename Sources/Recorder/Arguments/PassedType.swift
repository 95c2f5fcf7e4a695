// SPDX-License-Identifier: Apache-2.0

import CRecordingABI
import RecordingSchema

/// A parameter's or a result's type: what of it is recorded, and how the System V ABI passes it.
struct PassedType: Equatable {
  /// The class of an eightbyte that is passed in a register.
  enum Register: Equatable {
    case integer
    case vector
  }
  /// Where an argument of this type is.
  enum Passing: Equatable {
    /// In so many registers, where all of them are free; else on the stack. None: it takes no room.
    case registers([Register])
    /// On the stack.
    case memory(bytes: Int, alignment: Int)
    /// The caller has it in memory, and passes the address.
    case reference
    /// Nobody can say where those behind it are.
    case unknown
  }

  /// What is shown and recorded.
  var type: ValueType
  /// How it is passed.
  var passing: Passing
  /// NREC_FORM_*.
  var form = UInt8(NREC_FORM_BYTES)
  /// In a register at the function's entry, by DWARF's number; nil: DWARF does not say.
  var entryRegister: Int?

  /// Of a value in one register.
  init(_ type: ValueType) {
    self.type = type
    if case .float = type {
      passing = .registers([.vector])
    } else {
      passing = type == .unknown ? .unknown : .registers([.integer])
    }
    if type == .text { form = UInt8(NREC_FORM_TEXT) }
  }

  /// A structure.
  init(passing: Passing) {
    type = .structure
    self.passing = passing
  }

  /// A std::string.
  init(stringForm: UInt8, byReference: Bool) {
    type = .string
    form = stringForm
    passing = byReference ? .registers([.integer]) : .reference
  }

  /// `long double`: on the stack, and returned in the x87's registers.
  static var longDouble: PassedType {
    var type = PassedType(passing: .memory(bytes: 16, alignment: 16))
    type.type = .unknown
    return type
  }

  /// Bytes of NREC_FORM_BYTES.
  var bytes: Int {
    switch type {
    case .integer(let bytes, _), .enumeration(let bytes, _, _), .float(let bytes): bytes
    case .character, .boolean: 1
    default: 8
    }
  }

  /// Reads what signatures.c writes; nil where it is nothing of that.
  init?(_ text: Substring) {
    let parts = text.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false)
    let head = parts[0]
    switch head {
    case "L": self = .longDouble
    case "S1", "S2", "v1", "v2":
      let form = head.hasSuffix("1") ? NREC_FORM_LIBSTDCXX : NREC_FORM_LIBCXX
      self.init(stringForm: UInt8(form), byReference: head.hasPrefix("S"))
    case "{P": self.init(passing: .reference)
    case "{N": self.init(passing: .registers([]))
    default:
      if head.hasPrefix("{M") {
        guard let bytes = Int(head.dropFirst(2)), (1...(1 << 20)).contains(bytes) else {
          return nil
        }
        self.init(passing: .memory(bytes: bytes, alignment: 8))
      } else if head.hasPrefix("{") {
        let classes = head.dropFirst()
        guard (1...2).contains(classes.count), classes.allSatisfy({ "IS".contains($0) }) else {
          return nil
        }
        self.init(passing: .registers(classes.map { $0 == "I" ? .integer : .vector }))
      } else {
        guard let type = ValueType(head) else { return nil }
        self.init(type)
      }
    }
    if parts.count == 2 {
      guard let number = Int(parts[1]) else { return nil }
      entryRegister = number
    }
  }
}

/// What a function takes and returns, with its types' passing.
struct PassedSignature: Equatable {
  var parameters: [(name: String, type: PassedType)]
  /// Nil: it returns nothing.
  var result: PassedType?

  static func == (left: PassedSignature, right: PassedSignature) -> Bool {
    left.result == right.result && left.parameters.map(\.name) == right.parameters.map(\.name)
      && left.parameters.map(\.type) == right.parameters.map(\.type)
  }
}
