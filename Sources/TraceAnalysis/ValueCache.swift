// SPDX-License-Identifier: Apache-2.0

import RecordingReader

/// Arguments and results for a sink: keeps those that it gets until their call begins or ends, and knows
/// the functions' signatures.
///
/// Values of a call that the sink does not get (it is not selected) stay until the next ones come; they
/// are those of the next call only if that is of the same function, which then has values of its own.
public struct ValueCache: Sendable {
  /// Nothing was recorded, or nobody wants it.
  public let isOn: Bool
  private var pending: [RecordedValues.Moment: RecordedValues] = [:]
  private struct Key: Hashable, Sendable {
    var process: Int
    var function: UInt32
  }
  private var signatures: [Key: CallSignature?] = [:]

  /// For a recording.
  public init(_ recording: Recording, isOn: Bool = true) {
    self.isOn = isOn && recording.hasValues
  }

  /// Keeps them for their call.
  public mutating func keep(_ values: RecordedValues) { pending[values.moment] = values }

  /// The arguments of the call of `function` that begins; nil: they are not recorded.
  public mutating func arguments(
    _ function: UInt32, process: ProcessRecording, index: Int
  ) -> [CallArgument]? {
    let values = take(.entry, function)
    return signature(function, process, index)?.arguments(values)
  }

  /// The result of the call of `function` that returns; nil: there is none, or it is not recorded.
  public mutating func result(
    _ function: UInt32, process: ProcessRecording, index: Int
  ) -> CallValue? {
    let values = take(.exit, function)
    return signature(function, process, index)?.result(values)
  }

  private mutating func take(
    _ moment: RecordedValues.Moment, _ function: UInt32
  ) -> RecordedValues? {
    guard !pending.isEmpty, let values = pending.removeValue(forKey: moment) else { return nil }
    return values.function == function ? values : nil
  }

  private mutating func signature(
    _ function: UInt32, _ process: ProcessRecording, _ index: Int
  ) -> CallSignature? {
    let key = Key(process: index, function: function)
    if let known = signatures[key] { return known }
    let found = process.signature(UInt64(function))
    signatures[key] = .some(found)
    return found
  }
}

extension ValueCache {
  mutating func arguments(_ function: UInt32, _ lane: ThreadLane?) -> [CallArgument]? {
    guard let lane else { return nil }
    return arguments(function, process: lane.process, index: lane.processIndex)
  }

  mutating func result(_ function: UInt32, _ lane: ThreadLane?) -> CallValue? {
    guard let lane else { return nil }
    return result(function, process: lane.process, index: lane.processIndex)
  }
}
