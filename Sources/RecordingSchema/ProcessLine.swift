// SPDX-License-Identifier: Apache-2.0

/// A line of the file `processes`: a process joined the recording, or is known to be missing in it.
public enum ProcessLine: Sendable, Equatable {
  case joined(Session.Process)
  case missing(MissingProcess)
  /// Neither: of a later version. To be passed over.
  case other
}

/// A process that the recorded program started and whose calls, or some of them, are not recorded.
public struct MissingProcess: Sendable, Equatable, Hashable {
  /// The process id.
  public var pid: Int32
  /// The path of the executable; nil where it is not known. Not safe for a terminal as it is.
  public var program: String?
  /// Why, in one line. Not safe for a terminal as it is.
  public var reason: String

  /// A process that is missing for this reason.
  public init(pid: Int32, program: String?, reason: String) {
    self.pid = pid
    self.program = program
    self.reason = reason
  }
}

// MARK: - Text

extension ProcessLine: Codable {
  private enum CodingKeys: String, CodingKey {
    case joined = "process"
    case missing
  }

  /// Throws where the line is one of both and has what that cannot have.
  public init(from decoder: any Decoder) throws {
    let fields = try decoder.container(keyedBy: CodingKeys.self)
    if let process = try fields.decodeIfPresent(Session.Process.self, forKey: .joined) {
      self = .joined(process)
    } else if let missing = try fields.decodeIfPresent(MissingProcess.self, forKey: .missing) {
      self = .missing(missing)
    } else {
      self = .other
    }
  }

  /// An object with one key, `process` or `missing`; `other` has none.
  public func encode(to encoder: any Encoder) throws {
    var fields = encoder.container(keyedBy: CodingKeys.self)
    switch self {
    case .joined(let process): try fields.encode(process, forKey: .joined)
    case .missing(let missing): try fields.encode(missing, forKey: .missing)
    case .other: break
    }
  }
}

extension MissingProcess: Codable {
  private enum CodingKeys: CodingKey { case pid, program, reason }

  /// Throws where the process id is missing, or a field is of another type.
  public init(from decoder: any Decoder) throws {
    let fields = try decoder.container(keyedBy: CodingKeys.self)
    pid = try fields.decode(Int32.self, forKey: .pid)
    program = try fields.decodeIfPresent(String.self, forKey: .program)
    reason = try fields.decodeIfPresent(String.self, forKey: .reason) ?? ""
  }

  /// All fields; the program is null where it is not known.
  public func encode(to encoder: any Encoder) throws {
    var fields = encoder.container(keyedBy: CodingKeys.self)
    try fields.encode(pid, forKey: .pid)
    try fields.encode(program, forKey: .program)
    try fields.encode(reason, forKey: .reason)
  }
}
