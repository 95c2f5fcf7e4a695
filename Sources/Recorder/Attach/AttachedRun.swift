// SPDX-License-Identifier: Apache-2.0

import CRecorder
import CRecordingABI
import Glibc
import Visits

/// What was found when a recorder left a process.
public struct DetachReport: Equatable, Sendable {
  /// Process id.
  public let process: Int32
  /// Sites that are what their file has again, and those that are not.
  public var restored = 0, left = 0
  /// Frames that still return to a trampoline, which stays in the process.
  public var keptReturns = 0
  /// Whether all threads are out of the agent's code.
  public var isQuiet = true
  /// How long all threads were stopped altogether.
  public var stoppedNanoseconds: UInt64 = 0
  /// From the first look until the process had been left.
  public var totalNanoseconds: UInt64 = 0

  init(_ process: Int32, _ outcome: VisitOutcome) {
    self.process = process
    stoppedNanoseconds = outcome.stoppedNanoseconds + outcome.allStoppedNanoseconds
    totalNanoseconds = outcome.totalNanoseconds
    guard outcome.result.count >= MemoryLayout<nrec_visit_result>.size else { return }
    let result = outcome.result.withUnsafeBytes { $0.loadUnaligned(as: nrec_visit_result.self) }
    restored = Int(result.restored)
    left = Int(result.left)
    keptReturns = Int(result.kept_returns)
    isQuiet = result.is_quiet != 0
  }
}

extension DetachReport {
  /// Ends what a recorder has begun that is not there any more.
  public static func make(_ process: Int32, agent: String) throws -> DetachReport {
    let call = VisitCall(
      agent: agent, function: "nopscope_visit",
      arguments: [.number(UInt64(NREC_VISIT_DETACH)), .result, .table])
    return DetachReport(process, try Visit(process).begin(call).wait())
  }
}

/// A recording of a process that runs: begins it there, serves its agent, and gives the process back.
public final class AttachedRun {
  /// The recorder of the run.
  public let server: RecordServer
  /// What the visit to begin cost.
  public private(set) var attached: VisitOutcome?
  /// Each process that was given back.
  public private(set) var detached: [DetachReport] = []
  /// Why a process could not be given back.
  public private(set) var failures: [String] = []
  /// Whether the process has ended by itself.
  public private(set) var hasEnded = false
  private let folder: RecordingFolder
  private let process: Int32
  private let agent: String
  private let duration: UInt64?
  private var isInterrupted = false
  private var visit: VisitInProgress?
  private var result: Result<VisitOutcome, VisitError>?

  private static let lookNanoseconds: UInt64 = 100_000
  private static let held = [SIGINT, SIGQUIT, SIGTERM, SIGHUP].map { UInt32($0) }

  /// Makes the recording at `output`. `duration`: nanoseconds until it ends; nil: until Ctrl-C.
  public init(
    _ process: Int32, agent: String, output: String, options: RecordOptions,
    duration: UInt64?, source: SiteSource, clock: TraceClock
  ) throws {
    (server, folder) = try RecordServer.make(
      at: output, command: commandLine(of: process), options: options, source: source, clock: clock)
    self.process = process
    self.agent = agent
    self.duration = duration
  }

  /// Begins, serves until Ctrl-C, the end of `duration` or of the process, gives the process back and
  /// closes the recording. `begun` is called when the process is recorded. Where it cannot be, nothing
  /// is left of the recording.
  public func run(begun: () -> Void) throws {
    let signals = Descriptor(nrc_signals_hold(Self.held, Self.held.count))
    let registration = server.loop.add(signals.number) { [weak self] in
      var isFromTerminal = false
      while nrc_signals_next(signals.number, &isFromTerminal) != 0 { self?.isInterrupted = true }
    }
    defer { server.loop.remove(registration) }
    do {
      server.prepare()
      server.omitSwitches(because: "nopscope attach does not record them")
      try attach()
    } catch {
      folder.discard()
      throw error
    }
    server.gate.begin()
    begun()
    if let duration {
      server.loop.after(nanoseconds: duration) { [weak self] in self?.isInterrupted = true }
    }
    while !isInterrupted, server.connectedProcesses > 0 { server.loop.turn(milliseconds: -1) }
    hasEnded = server.connectedProcesses == 0
    for one in server.livingProcesses { detach(one) }
    server.loop.turn(milliseconds: 0)
    server.finish(exitStatus: nil)
  }

  private func attach() throws {
    let outcome = try make(
      process,
      [.number(UInt64(NREC_VISIT_ATTACH)), .connection, .table]
    ) { visit in
      server.connections.adopt(visit.takeConnection(), from: process)
    }
    attached = outcome
  }

  private func detach(_ one: TracedProcess) {
    do {
      let outcome = try make(
        one.process, [.number(UInt64(NREC_VISIT_DETACH)), .result, .table])
      detached.append(DetachReport(one.process, outcome))
      server.leave(one)
    } catch {
      if !isEnding(one.process) { failures.append("\(error)") }
    }
  }

  /// A forked child may end while it is visited.
  private func isEnding(_ process: Int32) -> Bool {
    for _ in 0..<50 {
      guard let state = ProcessStatus(process)?.state, state != UInt8(ascii: "Z") else {
        return true
      }
      usleep(1000)
    }
    return false
  }

  /// One visit, while messages of the agent are answered.
  private func make(
    _ process: Int32, _ arguments: [VisitCall.Argument],
    begun: (VisitInProgress) -> Void = { _ in }
  ) throws -> VisitOutcome {
    let visit = try Visit(process).begin(
      VisitCall(agent: agent, function: "nopscope_visit", arguments: arguments))
    begun(visit)
    self.visit = visit
    result = nil
    look()
    while true {
      if let result {
        self.visit = nil
        return try result.get()
      }
      server.loop.turn(milliseconds: -1)
    }
  }

  private func look() {
    guard let visit else { return }
    do throws(VisitError) {
      if let outcome = try visit.look() { result = .success(outcome) }
    } catch {
      result = .failure(error)
    }
    if result == nil {
      server.loop.after(nanoseconds: Self.lookNanoseconds) { [weak self] in self?.look() }
    }
  }
}

/// A process's words, from /proc.
private func commandLine(of process: Int32) -> [String] {
  let file = Descriptor(open("/proc/\(process)/cmdline", O_RDONLY | O_CLOEXEC))
  guard file.number >= 0, let bytes = file.readSome(at: 0, atMost: 65536) else { return [] }
  return bytes.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
}
