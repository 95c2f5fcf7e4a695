// SPDX-License-Identifier: Apache-2.0

import CRecordingABI

/// What `session.json` says: what was run, with which tracer, the clock's rate.
///
/// Every field may be missing: the file may be, or may be older than the rest.
public struct Session: Sendable, Equatable {
  /// One program image that an agent was in.
  public struct Process: Sendable, Equatable {
    /// How an image begins.
    public enum Begin: String, Sendable {
      /// At the program's start, or by an exec.
      case start
      /// As the copy of a process that was traced.
      case fork
    }

    /// Which image, and the names of its files.
    public var image: ImageName
    /// The parent's process id when it began.
    public var parent: Int32?
    /// The path of the executable.
    public var program: String?
    /// How it began; nil where the file does not say.
    public var begin: Begin?
    /// The program's name and its arguments, cut where they are long; nil where the file does not say, or
    /// they could not be read. Not safe for a terminal as they are.
    public var arguments: [String]?

    /// An image, as the agent's first message has it.
    public init(image: ImageName, parent: Int32?, program: String?, begin: Begin?) {
      self.image = image
      self.parent = parent
      self.program = program
      self.begin = begin
    }
  }

  /// What was not to be recorded; all nil in a recording that does not keep it.
  public struct Options: Sendable, Equatable {
    /// Rules as they were given.
    public var filter, notrace, graph, threads: [String]?
    /// 0: no limit.
    public var maximumDepth: UInt64?
    /// Calls shorter than this were left out; 0: none were.
    public var thresholdNanoseconds: UInt64?
    /// Nil: not a flight recorder.
    public var overwriteBytes: UInt64?
    /// So long after the program's start it began; nil: at once.
    public var delayNanoseconds: UInt64?
    /// So long after it began it ended; nil: with the program.
    public var durationNanoseconds: UInt64?
    /// Functions whose first entry began it, and whose first entry ended it; nil: none.
    public var startOn, stopOn: [String]?
    /// Calls that asked for snapshots; nil: none.
    public var snapshotOn: String?
    /// Functions whose arguments and results were recorded, as they were given; nil: none.
    public var arguments: [String]?

    /// Nothing is known.
    public init() {}
  }

  /// Nil where the file does not say.
  public var schema: String? = RecordingFormat.schema
  /// Of the event files' format: NREC_VERSION.
  public var version: Int? = Int(NREC_VERSION)
  /// The program and its arguments.
  public var command: [String] = []
  /// As it is written: `tracer` where it is one that we know.
  public var tracerName: String?
  /// What was not to be recorded.
  public var options = Options()
  /// Since 1970, by the clock on the wall.
  public var startRealtimeNanoseconds: UInt64?
  /// The time stamp counter's frequency in Hz.
  public var ticksPerSecond: UInt64?
  /// Ticks are shifted by so many bits to be the units of the event files.
  public var timeShift: Int? = Int(NREC_TIME_SHIFT)
  /// The name of the machine.
  public var host: String?
  /// Why it was not recorded when threads left the CPU; nil: it was, or nobody asked.
  public var noSwitches: String?
  /// Whether `nopscope record` closed it.
  public var hasEnded = false
  /// Of the program, as a shell has it; nil: it is not known.
  public var exitStatus: Int?
  /// Those that joined, in their order: session.json has them only in an older recording. Today each
  /// is a `ProcessLine` of its own, so that one more costs the same however many there are.
  public var processes: [Process] = []
  /// Those that are known not to be recorded, or not wholly: lines of `processes` too.
  public var missing: [MissingProcess] = []

  /// Nothing is known.
  public init() {}

  /// The tracer, where it is one that we know.
  public var tracer: Tracer? { tracerName.flatMap(Tracer.init(rawValue:)) }
}

extension Session: Codable {
  private enum CodingKeys: String, CodingKey {
    case schema, version, command, options, startRealtimeNanoseconds, ticksPerSecond, timeShift
    case host, exitStatus, processes, noSwitches
    case tracerName = "tracer"
    case hasEnded = "ended"
  }

  /// A missing field is nil or empty. Throws where one that readers need is of another type.
  public init(from decoder: any Decoder) throws {
    let fields = try decoder.container(keyedBy: CodingKeys.self)
    schema = try fields.decodeIfPresent(String.self, forKey: .schema)
    command = try fields.decodeIfPresent([String].self, forKey: .command) ?? []
    tracerName = try fields.decodeIfPresent(String.self, forKey: .tracerName)
    options = try fields.decodeIfPresent(Options.self, forKey: .options) ?? Options()
    startRealtimeNanoseconds = try fields.decodeIfPresent(
      UInt64.self, forKey: .startRealtimeNanoseconds)
    ticksPerSecond = try fields.decodeIfPresent(UInt64.self, forKey: .ticksPerSecond)
    hasEnded = try fields.decodeIfPresent(Bool.self, forKey: .hasEnded) ?? false
    exitStatus = try fields.decodeIfPresent(Int.self, forKey: .exitStatus)
    processes = try fields.decodeIfPresent([Process].self, forKey: .processes) ?? []
    // No reader needs these: where they are not what they should be, the rest counts.
    version = try? fields.decodeIfPresent(Int.self, forKey: .version)
    timeShift = try? fields.decodeIfPresent(Int.self, forKey: .timeShift)
    host = try? fields.decodeIfPresent(String.self, forKey: .host)
    noSwitches = try? fields.decodeIfPresent(String.self, forKey: .noSwitches)
  }

  /// What is nil is left out, but for the exit status, which is null while the program runs. The
  /// processes are not written here.
  public func encode(to encoder: any Encoder) throws {
    var fields = encoder.container(keyedBy: CodingKeys.self)
    try fields.encodeIfKnown(schema, forKey: .schema)
    try fields.encodeIfKnown(version, forKey: .version)
    try fields.encode(command, forKey: .command)
    try fields.encodeIfKnown(tracerName, forKey: .tracerName)
    try fields.encode(options, forKey: .options)
    try fields.encodeIfKnown(startRealtimeNanoseconds, forKey: .startRealtimeNanoseconds)
    try fields.encodeIfKnown(ticksPerSecond, forKey: .ticksPerSecond)
    try fields.encodeIfKnown(timeShift, forKey: .timeShift)
    try fields.encodeIfKnown(host, forKey: .host)
    try fields.encodeIfKnown(noSwitches, forKey: .noSwitches)
    try fields.encode(hasEnded, forKey: .hasEnded)
    try fields.encode(exitStatus, forKey: .exitStatus)  // null while the program runs
  }
}

extension Session.Options: Codable {
  private enum CodingKeys: CodingKey {
    case filter, notrace, graph, threads, maximumDepth, thresholdNanoseconds, overwriteBytes
    case delayNanoseconds, durationNanoseconds, startOn, stopOn, snapshotOn, arguments
  }

  /// What is nil is left out, but for `overwriteBytes`: null means that everything was kept.
  public func encode(to encoder: any Encoder) throws {
    var fields = encoder.container(keyedBy: CodingKeys.self)
    try fields.encodeIfKnown(filter, forKey: .filter)
    try fields.encodeIfKnown(notrace, forKey: .notrace)
    try fields.encodeIfKnown(graph, forKey: .graph)
    try fields.encodeIfKnown(threads, forKey: .threads)
    try fields.encodeIfKnown(maximumDepth, forKey: .maximumDepth)
    try fields.encodeIfKnown(thresholdNanoseconds, forKey: .thresholdNanoseconds)
    try fields.encode(overwriteBytes, forKey: .overwriteBytes)  // null: no flight recorder
    try fields.encodeIfKnown(delayNanoseconds, forKey: .delayNanoseconds)
    try fields.encodeIfKnown(durationNanoseconds, forKey: .durationNanoseconds)
    try fields.encodeIfKnown(startOn, forKey: .startOn)
    try fields.encodeIfKnown(stopOn, forKey: .stopOn)
    try fields.encodeIfKnown(snapshotOn, forKey: .snapshotOn)
    try fields.encodeIfKnown(arguments, forKey: .arguments)
  }
}

extension Session.Process: Codable {
  /// `events` and `modules` follow from the first two, and are written for people and scripts.
  private enum CodingKeys: CodingKey {
    case pid, incarnation, parent, begin, program, arguments, events, modules
  }

  /// Throws where the process id or the incarnation is missing.
  public init(from decoder: any Decoder) throws {
    let fields = try decoder.container(keyedBy: CodingKeys.self)
    image = ImageName(
      pid: try fields.decode(Int32.self, forKey: .pid),
      incarnation: try fields.decode(UInt32.self, forKey: .incarnation))
    parent = try fields.decodeIfPresent(Int32.self, forKey: .parent)
    program = try fields.decodeIfPresent(String.self, forKey: .program)
    begin = try fields.decodeIfPresent(String.self, forKey: .begin).flatMap(Begin.init)
    // Where they are not what they should be, the rest counts.
    arguments = try? fields.decodeIfPresent([String].self, forKey: .arguments)
  }

  /// What is nil is left out; the names of the files are written too.
  public func encode(to encoder: any Encoder) throws {
    var fields = encoder.container(keyedBy: CodingKeys.self)
    try fields.encode(image.pid, forKey: .pid)
    try fields.encode(image.incarnation, forKey: .incarnation)
    try fields.encodeIfKnown(parent, forKey: .parent)
    try fields.encodeIfKnown(begin?.rawValue, forKey: .begin)
    try fields.encodeIfKnown(program, forKey: .program)
    try fields.encodeIfKnown(arguments, forKey: .arguments)
    try fields.encode(image.events, forKey: .events)
    try fields.encode(image.modules, forKey: .modules)
  }
}
