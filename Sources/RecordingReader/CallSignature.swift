// SPDX-License-Identifier: Apache-2.0

public import RecordingSchema

/// What is recorded with the calls of one function: see `SignatureFile`.
public struct CallSignature: Sendable {
  /// Its parameters, and what it returns.
  public let function: FunctionSignature
  private let file: SignatureFile

  init(_ function: FunctionSignature, of file: SignatureFile) {
    self.function = function
    self.file = file
  }

  /// The arguments of a call; nil where their values are missing: unreadable ones.
  public func arguments(_ values: RecordedValues?) -> [CallArgument] {
    let found = values?.decoded(function.parameters.map(\.type))
    return function.parameters.enumerated().map { index, parameter in
      CallArgument(
        name: parameter.name,
        value: value(found?[index] ?? .unreadable, parameter.type))
    }
  }

  /// What a call returned; nil where the function returns nothing.
  public func result(_ values: RecordedValues?) -> CallValue? {
    function.result.map { type in value(values?.decoded([type]).first ?? .unreadable, type) }
  }

  private func value(_ recorded: RecordedValue, _ type: ValueType) -> CallValue {
    if type == .structure { return .structure }
    switch recorded {
    case .unreadable: return .unreadable
    case .null: return type == .text || type == .string ? .null : .unreadable
    case .bytes(let bytes, let isCut):
      if type == .text || type == .string { return .text(Array(bytes), isCut: isCut) }
      return number(bytes, type)
    }
  }

  private func number(_ bytes: ArraySlice<UInt8>, _ type: ValueType) -> CallValue {
    guard bytes.count == type.bytes else { return .unreadable }
    let word = bytes.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    let unused = 64 - 8 * bytes.count
    let signed = Int64(bitPattern: word << unused) >> unused
    switch type {
    case .integer(_, let isSigned): return isSigned ? .integer(signed) : .unsigned(word)
    case .enumeration(_, let isSigned, let index):
      let value = isSigned ? signed : Int64(bitPattern: word)
      return .enumeration(value, name: file.enumerations[index].names[value])
    case .character: return .character(UInt8(word))
    case .boolean: return word < 2 ? .boolean(word == 1) : .unsigned(word)
    case .float(let bytes):
      if bytes == 8 { return .real(Double(bitPattern: word)) }
      return .single(Float(bitPattern: UInt32(truncatingIfNeeded: word)))
    case .pointer: return .pointer(word)
    case .text, .string, .structure, .unknown: return .unreadable
    }
  }
}

extension ValueType {
  fileprivate var bytes: Int {
    switch self {
    case .integer(let bytes, _), .enumeration(let bytes, _, _), .float(let bytes): bytes
    case .character, .boolean: 1
    default: 8
    }
  }
}

/// One argument of a call.
public struct CallArgument: Sendable, Equatable {
  /// Empty: it has none.
  ///
  /// Not safe for a terminal as it is.
  public var name: String
  /// What it was.
  public var value: CallValue

  /// An argument.
  public init(name: String, value: CallValue) {
    self.name = name
    self.value = value
  }

  /// `id=42`, or `42`.
  public var text: String { name.isEmpty ? value.text : "\(name)=\(value.text)" }
}

/// An argument's or a result's value.
public enum CallValue: Sendable, Equatable {
  case integer(Int64)
  case unsigned(UInt64)
  case real(Double)
  case single(Float)
  case boolean(Bool)
  case character(UInt8)
  /// `name`: nil where the enumeration has none for it.
  case enumeration(Int64, name: String?)
  case pointer(UInt64)
  /// What a text's or a string's memory held; cut: there was more.
  case text([UInt8], isCut: Bool)
  /// A null pointer in place of a text.
  case null
  /// A structure: what is in it is not recorded.
  case structure
  /// It could not be read, or is not known.
  case unreadable

  /// As a program of C has it: `42`, `"alice"`, `RED`, `0x7f00`; `?` where it is not known.
  public var text: String {
    switch self {
    case .integer(let value): String(value)
    case .unsigned(let value): String(value)
    case .real(let value): "\(value)"
    case .single(let value): "\(value)"
    case .boolean(let value): value ? "true" : "false"
    case .character(let byte): "'" + Self.escaped([byte], quote: "'") + "'"
    case .enumeration(let value, let name): name ?? String(value)
    case .pointer(let address): "0x" + String(address, radix: 16)
    case .text(let bytes, let isCut):
      "\"" + Self.escaped(Self.whole(bytes, isCut), quote: "\"") + "\"" + (isCut ? "…" : "")
    case .null: "NULL"
    case .structure: "{…}"
    case .unreadable: "?"
    }
  }

  /// Without a character that the cut has left in part.
  private static func whole(_ bytes: [UInt8], _ isCut: Bool) -> [UInt8] {
    guard isCut, let last = bytes.last, last >= 0x80 else { return bytes }
    for count in 1...min(3, bytes.count) {
      let lead = bytes[bytes.count - count]
      if lead & 0xc0 == 0x80 { continue }
      let length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1
      return length > count ? Array(bytes.dropLast(count)) : bytes
    }
    return bytes
  }

  private static func escaped(_ bytes: [UInt8], quote: Character) -> String {
    var text = ""
    var rest = bytes[...]
    while let byte = rest.first {
      if byte >= 0x80, let (character, count) = scalar(rest) {
        text.unicodeScalars.append(character)
        rest = rest.dropFirst(count)
        continue
      }
      rest = rest.dropFirst()
      switch byte {
      case 0x0a: text += "\\n"
      case 0x09: text += "\\t"
      case 0x0d: text += "\\r"
      case 0x00: text += "\\0"
      case 0x5c: text += "\\\\"
      case quote.asciiValue: text += "\\\(quote)"
      case 0x20..<0x7f: text.unicodeScalars.append(Unicode.Scalar(byte))
      default: text += "\\x" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
      }
    }
    return text
  }

  /// The first character of UTF-8, and its length; nil where it is none.
  private static func scalar(_ bytes: ArraySlice<UInt8>) -> (Unicode.Scalar, Int)? {
    var decoder = UTF8()
    var source = bytes.prefix(4).makeIterator()
    guard case .scalarValue(let scalar) = decoder.decode(&source) else { return nil }
    // The C1 controls are as good as those of ASCII for a terminal.
    if scalar.value < 0xa0 { return nil }
    return (scalar, UTF8.width(scalar))
  }
}

extension CallValue: Encodable {
  /// A number, a text, or a truth; pointers are texts, and what is not known is null.
  public func encode(to encoder: any Encoder) throws {
    var value = encoder.singleValueContainer()
    switch self {
    case .integer(let number): try value.encode(number)
    case .unsigned(let number): try value.encode(number)
    case .real(let number) where number.isFinite: try value.encode(number)
    case .single(let number) where number.isFinite: try value.encode(number)
    case .boolean(let truth): try value.encode(truth)
    case .enumeration(let number, nil): try value.encode(number)
    case .character(let byte): try value.encode(Self.escaped([byte], quote: "'"))
    case .text(let bytes, _): try value.encode(String(decoding: bytes, as: UTF8.self))
    case .null, .structure, .unreadable: try value.encodeNil()
    case .real, .single, .enumeration, .pointer: try value.encode(text)
    }
  }
}
