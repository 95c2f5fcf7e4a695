// SPDX-License-Identifier: Apache-2.0

/// A recording's directory as one byte string: records of a kind, a length and bytes.
///
///     kind 1 byte · length 2 bytes, little-endian · bytes
///
/// Any string is one: a length that reaches beyond the end takes what is there. Event files are
/// made of pages, nearly all of them zero bytes: the padding is not part of the string.
public struct RecordingInput {
  public enum Kind: UInt8, CaseIterable, Sendable {
    /// Goes to session.json.
    case session
    /// Goes to PID-N.modules of the process that was begun last.
    case modules
    /// Go to symbols/aa and symbols/bb, the names of two build-ids.
    case symbols
    case otherSymbols
    /// Begins another process: its bytes are the first page of PID-N.events.
    case process
    /// Goes behind the event file, filled up to a whole page.
    case chunk
    /// Goes behind the event file as it is.
    case bytes
  }

  public struct Record {
    public var kind: Kind
    public var bytes: [UInt8]

    public init(_ kind: Kind, _ bytes: [UInt8]) {
      self.kind = kind
      self.bytes = bytes
    }
  }

  public static let page = 4096
  /// What one record holds at most.
  public static let longest = 0xffff
  /// A process has files of its own: more than these go to the last.
  static let mostProcesses = 4

  public var records: [Record] = []

  public init() {}

  public init(_ input: some Collection<UInt8>) {
    let input = Array(input)
    var at = 0
    while at < input.count {
      let kind = Kind.allCases[Int(input[at]) % Kind.allCases.count]
      let low = at + 1 < input.count ? Int(input[at + 1]) : 0
      let high = at + 2 < input.count ? Int(input[at + 2]) : 0
      let start = min(at + 3, input.count)
      let end = min(start + low + high << 8, input.count)
      records.append(Record(kind, Array(input[start..<end])))
      at = end
    }
  }

  public var encoded: [UInt8] {
    var output: [UInt8] = []
    for record in records {
      let bytes = record.bytes.prefix(Self.longest)
      output += [
        record.kind.rawValue, UInt8(bytes.count & 0xff), UInt8(bytes.count >> 8),
      ]
      output += bytes
    }
    return output
  }

  /// The directory's files by their path in it; those of `processes` processes are always there.
  var files: [String: [UInt8]] {
    var files: [String: [UInt8]] = [:]
    var process = -1
    for record in records {
      let events = "1-\(max(0, process)).events"
      switch record.kind {
      case .session: files["session.json", default: []] += record.bytes
      case .modules: files["1-\(max(0, process)).modules", default: []] += record.bytes
      case .symbols: files["symbols/aa", default: []] += record.bytes
      case .otherSymbols: files["symbols/bb", default: []] += record.bytes
      case .process:
        process = min(process + 1, Self.mostProcesses - 1)
        files["1-\(process).events", default: []] += Self.padded(record.bytes)
      case .chunk: files[events, default: []] += Self.padded(record.bytes)
      case .bytes: files[events, default: []] += record.bytes
      }
    }
    return files
  }

  private static func padded(_ bytes: [UInt8]) -> [UInt8] {
    bytes + Array(repeating: 0, count: (page - bytes.count % page) % page)
  }
}
