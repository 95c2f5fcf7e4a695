// SPDX-License-Identifier: Apache-2.0

import CRecorder
import CRecordingABI
import Glibc
import Units

/// What processes say that have no connection, through memory that they share with us.
///
/// Any program of the recording may write anything there: a note is a claim.
final class Notes {
  /// One note, copied and checked.
  struct Note: Equatable {
    enum Kind: UInt32 {
      /// A forked child could not join.
      case alone = 1
      /// A process is about to execute a program.
      case exec
      /// A process was made by posix_spawn.
      case spawned
      /// An exec failed.
      case stayed
    }

    var kind: Kind
    var process: Int32
    var time: ClockUnits
    /// Of reaching our socket from there; 0: it can be reached.
    var error: Int32
    /// Its environment names another recorder, or none.
    var isOthers = false
    /// Of `alone`: the process that it is a copy of.
    var joined: Int32 = 0
    /// As it was given to exec; nil: too long, or none.
    var program: String?
  }

  private let notes: OpaquePointer

  init() throws {
    guard let notes = nrc_notes_make() else {
      throw ServerError(description: "no memory for the notes: \(systemError(errnoNow()))")
    }
    self.notes = notes
  }

  deinit { nrc_notes_free(notes) }

  /// What agents map; -1: there is no room for notes.
  var file: Int32 { nrc_notes_file(notes) }
  /// How many found no place.
  var lost: UInt64 { nrc_notes_lost(notes) }

  /// The next one; nil where there is none now. `isLast`: no writer is waited for.
  func next(isLast: Bool) -> Note? {
    var raw = nrec_note()
    while nrc_notes_next(notes, &raw, isLast) {
      guard let kind = Note.Kind(rawValue: raw.kind), raw.process > 0 else { continue }
      return Note(
        kind: kind, process: raw.process, time: ClockUnits(raw.time), error: raw.error,
        isOthers: raw.flags & UInt32(NREC_NOTE_OTHERS) != 0, joined: raw.joined,
        program: Self.program(raw))
    }
    return nil
  }

  private static func program(_ raw: nrec_note) -> String? {
    guard raw.length > 0, raw.length <= UInt32(NREC_NOTE_PROGRAM) else { return nil }
    return withUnsafeBytes(of: raw.program) { bytes in
      String(decoding: bytes.prefix(Int(raw.length)).prefix { $0 != 0 }, as: UTF8.self)
    }
  }
}
