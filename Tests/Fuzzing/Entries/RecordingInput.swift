// SPDX-License-Identifier: Apache-2.0

/// A recording's directory as one byte string: records of a kind, a length and bytes.
///
///     kind 1 byte · length 2 bytes, little-endian · bytes
///
/// Every byte string is a valid input: a length beyond the end takes the bytes that are there. The
/// string does not contain the padding of an event file's pages, which is nearly all zero bytes.
public struct RecordingInput {
  /// What a record is for.
  public enum Kind: UInt8, CaseIterable, Sendable {
    /// Goes to session.json.
    case session
    /// Goes to PID-N.modules of the process that was begun last.
    case modules
    /// Go to symbols/aa and symbols/bb, the names of two build-ids.
    case symbols
    case otherSymbols
    /// Begins another process. The bytes are the first page of its PID-N.events.
    case process
    /// Is appended to the event file, padded to a whole page.
    case chunk
    /// Is appended to the event file without padding.
    case bytes
    /// Goes to the file `processes`.
    case processes
    /// Goes to symbols/aa.lines.
    case lines
    /// Goes to symbols/aa.args.
    case arguments
  }

  /// One part of the input: a file's bytes.
  public struct Record {
    /// What it is for.
    public var kind: Kind
    /// Its contents.
    public var bytes: [UInt8]

    /// A record of `kind`.
    public init(_ kind: Kind, _ bytes: [UInt8]) {
      self.kind = kind
      self.bytes = bytes
    }
  }

  /// Bytes of a page, which files are padded to.
  public static let page = 4096
  /// The most bytes that one record holds.
  public static let longest = 0xffff
  /// The most processes, since each has files of its own. Records of later ones go to the last.
  static let mostProcesses = 4

  /// In the order of the input.
  public var records: [Record] = []

  /// No records.
  public init() {}

  /// Decodes what a fuzzer made; any bytes are an input.
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

  /// The input that decodes to these records.
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

  /// The directory's files, by their path in it.
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
      case .processes: files["processes", default: []] += record.bytes
      case .lines: files["symbols/aa.lines", default: []] += record.bytes
      case .arguments: files["symbols/aa.args", default: []] += record.bytes
      }
    }
    return files
  }

  private static func padded(_ bytes: [UInt8]) -> [UInt8] {
    bytes + Array(repeating: 0, count: (page - bytes.count % page) % page)
  }
}
