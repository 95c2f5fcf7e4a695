// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials

/// What `session.json` says.
///
/// Every field may be missing: the file may be, or may be stale.
public struct Session: Sendable {
  public struct Process: Sendable {
    public var pid: Int32
    public var incarnation: UInt32
    public var parent: Int32?
    public var program: String?
    public var begin: String?
  }

  /// What was not to be recorded; all empty in a recording that does not keep it.
  public struct Options: Sendable, Decodable {
    public var filter, notrace, graph, threads: [String]?
    /// 0: no limit.
    public var maximumDepth: UInt64?
    public var thresholdNanoseconds: UInt64?
    public var overwriteBytes: UInt64?

    public init() {}
  }

  public var command: [String] = []
  public var options = Options()
  /// `function_graph`, `function`, `callgraph`, `profile` or `hits`.
  public var tracer: String?
  public var startRealtimeNanoseconds: UInt64?
  /// The TSC's frequency in Hz.
  public var ticksPerSecond: UInt64?
  /// Whether `nopscope record` closed it.
  public var hasEnded = false
  public var exitStatus: Int?
  public var processes: [Process] = []

  public init() {}
}

extension Session {
  private static let schema = "nopscope.recording/1"

  /// Reads the file's bytes; nil where they are no JSON object.
  ///
  /// Throws for another schema only.
  static func parse(_ bytes: [UInt8], path: String) throws(RecordingError) -> Session? {
    guard let document = try? JSONDecoder().decode(Document.self, from: Data(bytes)) else {
      return nil
    }
    if let found = document.schema, found != schema {
      throw .otherSchema(path: path, found: found)
    }
    var session = Session()
    session.command = document.command ?? []
    session.tracer = document.tracer
    session.options = document.options ?? Options()
    session.startRealtimeNanoseconds = document.startRealtimeNanoseconds
    session.ticksPerSecond = document.ticksPerSecond
    session.hasEnded = document.ended ?? false
    session.exitStatus = document.exitStatus
    session.processes = (document.processes ?? []).map { process in
      Process(
        pid: process.pid, incarnation: process.incarnation, parent: process.parent,
        program: process.program, begin: process.begin)
    }
    return session
  }

  private struct Document: Decodable {
    struct Process: Decodable {
      var pid: Int32
      var incarnation: UInt32
      var parent: Int32?
      var program, begin: String?
    }
    var schema: String?
    var command: [String]?
    var tracer: String?
    var options: Options?
    var startRealtimeNanoseconds, ticksPerSecond: UInt64?
    var ended: Bool?
    var exitStatus: Int?
    var processes: [Process]?
  }
}
