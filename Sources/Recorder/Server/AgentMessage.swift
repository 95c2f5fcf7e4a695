// SPDX-License-Identifier: Apache-2.0

import CRecordingABI
import TextFormat
import Units

/// A message from an agent.
///
/// It comes from a program that may do anything: every length is checked against what was received,
/// every number before it is used.
package enum AgentMessage {
  package struct Module: Equatable {
    package var generation: UInt32
    package var loadBias: LoadBias
    /// The hull of its executable segments, in the traced process: [start, end).
    package var textStart, textEnd: CodeAddress
    /// When it was loaded.
    package var time: ClockUnits
    package var buildID: [UInt8]
    /// As the loader has it: relative to the process's folder where dlopen was given such a path.
    package var path: String
  }

  case module(Module)
  case applied(nrec_applied)
  case gone(nrec_gone)
  /// Generations of a forked child's modules; `isLast`: no more follow.
  case inherited([UInt32], isLast: Bool)

  /// Nil for anything else than one whole message of the protocol.
  package init?(_ bytes: UnsafeRawBufferPointer) {
    guard bytes.count >= 4 else { return nil }
    switch Int(bytes.loadUnaligned(as: UInt32.self)) {
    case NREC_MESSAGE_MODULE:
      guard let module = Module(bytes) else { return nil }
      self = .module(module)
    case NREC_MESSAGE_APPLIED:
      guard let applied = Self.load(nrec_applied.self, bytes) else { return nil }
      self = .applied(applied)
    case NREC_MESSAGE_GONE:
      guard let gone = Self.load(nrec_gone.self, bytes) else { return nil }
      self = .gone(gone)
    case NREC_MESSAGE_INHERITED:
      guard let generations = Self.generations(bytes) else { return nil }
      self = .inherited(
        generations, isLast: generations.count < Int(NREC_INHERITED_AT_ONCE))
    default: return nil
    }
  }

  private static func generations(_ bytes: UnsafeRawBufferPointer) -> [UInt32]? {
    guard let start = MemoryLayout<nrec_inherited>.offset(of: \.generations), bytes.count >= start
    else { return nil }
    let count = Int(bytes.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
    guard count <= Int(NREC_INHERITED_AT_ONCE), bytes.count == start + 4 * count else { return nil }
    return (0..<count).map {
      bytes.loadUnaligned(fromByteOffset: start + 4 * $0, as: UInt32.self)
    }
  }

  /// The messages are integers throughout: any bits are valid.
  private static func load<T: BitwiseCopyable>(
    _ type: T.Type, _ bytes: UnsafeRawBufferPointer
  ) -> T? {
    bytes.count == MemoryLayout<T>.size ? bytes.loadUnaligned(as: type) : nil
  }
}

extension AgentMessage.Module {
  static let mostPathBytes = 4000
  static let mostBuildIDBytes = 64

  fileprivate init?(_ bytes: UnsafeRawBufferPointer) {
    typealias Layout = MemoryLayout<nrec_module_message>
    guard let pathStart = Layout.offset(of: \.path), let idStart = Layout.offset(of: \.build_id),
      let lengths = Layout.offset(of: \.build_id_length),
      let biasAt = Layout.offset(of: \.load_bias), bytes.count >= pathStart
    else { return nil }
    let idLength = Int(bytes.loadUnaligned(fromByteOffset: lengths, as: UInt32.self))
    let pathLength = Int(bytes.loadUnaligned(fromByteOffset: lengths + 4, as: UInt32.self))
    guard idLength <= Self.mostBuildIDBytes, pathLength <= Self.mostPathBytes,
      bytes.count == pathStart + pathLength
    else { return nil }
    let name = bytes[pathStart..<(pathStart + pathLength)]
    guard !name.contains(0) else { return nil }
    func number(_ index: Int) -> UInt64 {
      bytes.loadUnaligned(fromByteOffset: biasAt + 8 * index, as: UInt64.self)
    }
    generation = bytes.loadUnaligned(fromByteOffset: 4, as: UInt32.self)
    loadBias = LoadBias(number(0))
    textStart = CodeAddress(number(1))
    textEnd = CodeAddress(number(2))
    time = ClockUnits(number(3))
    buildID = Array(bytes[idStart..<(idStart + idLength)])
    path = systemText(name)
    guard generation > 0, textStart <= textEnd else { return nil }
  }
}
