// SPDX-License-Identifier: Apache-2.0

import CRecordingABI
import Glibc
import RecordingSchema
import Units

/// Finds the processes that the program started and that are not in the recording, and why.
///
/// A process that is about to execute a program says so in a note. The image that then begins has
/// the agent, and its HELLO settles the note. What no HELLO has settled when its process has ended,
/// executes another program, or the recording ends, is missing.
final class MissingProcesses {
  /// Called with each that is found.
  private let tell: (MissingProcess) -> Void
  private let notes: Notes
  /// Programs that were started, by process id, until the image joins.
  private var expected: [Int32: Notes.Note] = [:]
  /// When it was last looked which of them have ended.
  private var sweepAt = MissingProcesses.mostExpected

  /// Past so many expected programs, those whose process has ended are told.
  private static let mostExpected = 1024

  init(notes: Notes, tell: @escaping (MissingProcess) -> Void) {
    self.notes = notes
    self.tell = tell
  }

  /// Reads the notes that have come, and returns how many. `latest`: the image that a process id named
  /// last.
  @discardableResult
  func read(isLast: Bool = false, latest: [Int32: TracedProcess]) -> Int {
    var count = 0
    while let note = notes.next(isLast: isLast) {
      count += 1
      switch note.kind {
      case .alone: tellAlone(note, latest)
      case .exec: expect(note)
      case .spawned:
        let joined = latest[note.process]
        if let joined, !joined.isFork, joined.startTime >= note.time { continue }
        expect(note)
      case .stayed:
        if expected[note.process]?.time == note.time { expected[note.process] = nil }
      }
    }
    if expected.count > sweepAt { sweep() }
    return count
  }

  /// An image has begun: it is the program that was expected of its process, if any was.
  func settle(_ process: TracedProcess) {
    guard !process.isFork, let note = expected[process.process], note.time <= process.startTime
    else { return }
    expected[process.process] = nil
  }

  /// The recorder itself refuses a process: `process` is its own number for itself.
  func refuse(_ process: Int32, peer: Int32, program: String, because reason: String) {
    expected[process] = nil
    expected[peer] = nil
    tell(
      MissingProcess(pid: peer, program: program.isEmpty ? nil : program, reason: reason))
  }

  /// The recording ends: what is still expected does not join any more.
  func finish(latest: [Int32: TracedProcess]) {
    read(isLast: true, latest: latest)
    for process in expected.keys.sorted() { miss(process) }
    if notes.lost > 0 {
      tell(
        MissingProcess(
          pid: 0, program: nil,
          reason:
            "\(notes.lost) notes about processes found no place: which of them are missing is "
            + "not known"))
    }
  }

  // MARK: - What is missing

  private func expect(_ note: Notes.Note) {
    miss(note.process)
    var note = note
    note.program = note.program.map { Self.absolute($0, of: note.process) }
    expected[note.process] = note
  }

  /// A relative path is one of the process's own folder, as long as that is known.
  private static func absolute(_ path: String, of process: Int32) -> String {
    guard path.contains("/"), !path.hasPrefix("/") else { return path }
    let folder = linkTarget("/proc/\(process)/cwd")
    return folder.hasPrefix("/") ? "\(folder)/\(path)" : path
  }

  private func sweep() {
    for process in expected.keys where kill(process, 0) != 0 && errno == ESRCH { miss(process) }
    sweepAt = max(Self.mostExpected, 2 * expected.count)
  }

  private func miss(_ process: Int32) {
    guard let note = expected.removeValue(forKey: process) else { return }
    let found = note.program.flatMap { Self.reason(program: $0, note) }
    tell(
      MissingProcess(
        pid: process, program: note.program,
        reason: found ?? Self.unreachable(note.error) ?? Self.notConnected))
  }

  private func tellAlone(_ note: Notes.Note, _ latest: [Int32: TracedProcess]) {
    let why = Self.unreachable(note.error) ?? systemError(note.error)
    tell(MissingProcess(pid: note.process, program: latest[note.joined]?.program, reason: why))
  }

  private static let notConnected =
    "its agent did not connect: the loader did not load it, or the process ended before"

  /// Why a program that was executed has not joined: what its file says comes first.
  private static func reason(program: String, _ note: Notes.Note) -> String? {
    if note.isOthers { return "its environment names another recorder, or none" }
    do {
      _ = try TargetProgram(program, searchPath: getenv("PATH").map { String(cString: $0) })
    } catch .notFound {
      return unreachable(note.error)
    } catch {
      let text = "\(error)"
      return text.hasPrefix(program + ": ") ? String(text.dropFirst(program.count + 2)) : text
    }
    return unreachable(note.error)
  }

  /// Why a process cannot reach our socket; nil: it can.
  private static func unreachable(_ error: Int32) -> String? {
    let failed = "it cannot reach the recorder's socket: \(systemError(error))"
    switch error {
    case 0: return nil
    case EACCES, EPERM: return failed + ": it runs as another user"
    case ENOENT, ENOTDIR: return failed + ": it has another root directory or mount namespace"
    case EMFILE, ENFILE: return failed + ": raise ulimit -n"
    case ECONNREFUSED: return failed + ": the recorder has ended"
    case EAGAIN:
      return "\(NREC_ARENA_PROCESSES) other processes were recorded, and none was over in time"
    case ETIMEDOUT: return "the recorder did not answer it in time"
    case ENOSPC: return "there is no space for its events"
    default: return failed
    }
  }
}
