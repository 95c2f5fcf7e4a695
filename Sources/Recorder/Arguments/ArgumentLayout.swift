// SPDX-License-Identifier: Apache-2.0

import CRecordingABI
import RecordingSchema

/// Where the arguments and the result of a function are when it is entered and when it returns, and what
/// the agent is to read there.
///
/// Source: System V Application Binary Interface, AMD64 supplement, 3.2.3. What cannot be known is left
/// out: its type becomes `unknown`.
struct ArgumentLayout {
  /// As it is shown.
  private(set) var signature: FunctionSignature
  /// In the order of the values, `function` not set.
  private(set) var fetches: [nrec_fetch] = []

  private var integers = 0
  private var vectors = 0
  private var stack = 0
  private var hasVectorOnStack = false
  private static let integerSources = [
    NREC_SOURCE_RDI, NREC_SOURCE_RSI, NREC_SOURCE_RDX, NREC_SOURCE_RCX, NREC_SOURCE_R8,
    NREC_SOURCE_R9,
  ].map { UInt8($0) }
  /// By DWARF's numbers of registers.
  private static let integerNumbers = [5, 4, 1, 2, 8, 9]
  private static let firstVectorNumber = 17
  private static let vectorCount = 8

  /// `hasStack`: whether arguments on the stack can be found. `isAfterPrologue`: the site is not the
  /// function's first instruction.
  init(_ passed: PassedSignature, hasStack: Bool, isAfterPrologue: Bool = false) {
    signature = FunctionSignature(parameters: [], result: passed.result?.type)
    addParameters(passed, hasStack: hasStack)
    if isAfterPrologue, hasVectorOnStack { dropVectors() }
    if let result = passed.result { add(result) }
  }

  /// Of a function of which nothing can be known.
  init(refusing passed: PassedSignature) {
    signature = FunctionSignature(
      parameters: passed.parameters.map { .init(name: $0.name, type: .unknown) },
      result: passed.result == nil ? nil : .unknown)
  }

  private mutating func addParameters(_ passed: PassedSignature, hasStack: Bool) {
    var isLost = passed.result?.passing == .unknown
    if passed.result.map(Self.isReturnedInMemory) == true { integers = 1 }
    for (name, type) in passed.parameters {
      isLost = isLost || type.passing == .unknown
      guard !isLost, let place = take(type) else {
        signature.parameters.append(.init(name: name, type: .unknown))
        continue
      }
      if let register = type.entryRegister, register != place.number {
        // The compiler has changed what the function takes.
        self = ArgumentLayout(refusing: passed)
        return
      }
      let isFull = fetches.count >= Int(NREC_MOST_VALUES)
      let isReadable = place.source != UInt8(NREC_SOURCE_STACK) || hasStack
      let isTooFar = place.offset >= NREC_MOST_STACK_BYTES
      guard type.type.isRecorded, !isFull, isReadable, !isTooFar else {
        let shown = type.type == .structure ? ValueType.structure : .unknown
        signature.parameters.append(.init(name: name, type: shown))
        continue
      }
      signature.parameters.append(.init(name: name, type: type.type))
      fetches.append(Self.fetch(type, NREC_AT_ENTRY, place))
    }
  }

  private typealias Place = (source: UInt8, offset: UInt32, number: Int?)

  /// Takes the next place of an argument; nil: it has none.
  private mutating func take(_ type: PassedType) -> Place? {
    switch type.passing {
    case .unknown: return nil
    case .memory(let bytes, let alignment):
      stack = (stack + alignment - 1) / alignment * alignment
      return takeStack(bytes)
    case .reference: return take([.integer])
    case .registers(let registers): return take(registers)
    }
  }

  private mutating func take(_ registers: [PassedType.Register]) -> Place? {
    if registers.isEmpty { return (UInt8(NREC_SOURCE_RDI), 0, nil) }
    let ofIntegers = registers.filter { $0 == .integer }.count
    let ofVectors = registers.count - ofIntegers
    guard integers + ofIntegers <= Self.integerSources.count,
      vectors + ofVectors <= Self.vectorCount
    else {
      hasVectorOnStack = hasVectorOnStack || ofVectors > 0
      return takeStack(8 * registers.count)
    }
    defer {
      integers += ofIntegers
      vectors += ofVectors
    }
    if registers[0] == .integer {
      return (Self.integerSources[integers], 0, Self.integerNumbers[integers])
    }
    return (
      UInt8(NREC_SOURCE_XMM0) + UInt8(vectors), 0, Self.firstVectorNumber + vectors
    )
  }

  /// clang loads arguments from the stack into vector registers before its call of mcount, and puts those
  /// that it has stored aside to this use.
  private mutating func dropVectors() {
    let first = UInt8(NREC_SOURCE_XMM0)
    var left = fetches[...]
    fetches = []
    for index in signature.parameters.indices
    where signature.parameters[index].type.isRecorded {
      guard let fetch = left.popFirst() else { return }
      if fetch.source >= first {
        signature.parameters[index].type = .unknown
      } else {
        fetches.append(fetch)
      }
    }
  }

  private mutating func takeStack(_ bytes: Int) -> Place {
    defer { stack += (bytes + 7) / 8 * 8 }
    return (UInt8(NREC_SOURCE_STACK), UInt32(stack), nil)
  }

  /// The caller passes where it is to be, before all arguments.
  private static func isReturnedInMemory(_ result: PassedType) -> Bool {
    switch result.passing {
    case .memory: result.type == .structure  // not a long double
    case .reference: true
    case .registers, .unknown: false
    }
  }

  private mutating func add(_ result: PassedType) {
    guard result.type.isRecorded else { return }
    let isVector = result.passing == .registers([.vector])
    let source = isVector ? NREC_SOURCE_XMM0 : NREC_SOURCE_RAX
    fetches.append(Self.fetch(result, NREC_AT_RETURN, (UInt8(source), 0, nil)))
  }

  private static func fetch(_ type: PassedType, _ moment: Int, _ place: Place) -> nrec_fetch {
    var fetch = nrec_fetch()
    fetch.moment = UInt8(moment)
    fetch.source = place.source
    fetch.form = type.form
    fetch.bytes = UInt8(type.bytes)
    fetch.offset = place.offset
    return fetch
  }
}
