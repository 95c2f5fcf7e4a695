// SPDX-License-Identifier: Apache-2.0

import CPatchCore
import Glibc
import TextFormat
public import Units

/// Why a transaction was not applied. Unless `isRolledBack` says that bytes were written and put
/// back, or `isLeftChanged` that they could not be, not one byte was written. The phase `close`
/// is an exception: then all bytes were written, and stay.
public struct PatchError: Error, Equatable, Sendable {
  /// What went wrong.
  public enum Reason: Int32, Sendable {
    case moduleGone = 1
    case outsideText, badPoke, unreadable, mismatch, unconfirmed, unwritable, notStopped
    case threadInside, unsuitable, readBack, noSync, stale, trapTaken
    /// A site is further from its stub than a 32-bit displacement reaches.
    case outOfReach = 100
  }

  /// The step of the transaction, in their order.
  public enum Phase: Int32, Sendable {
    case prepare, verify, open, stop, write, readBack, close
  }

  /// What went wrong.
  public var reason: Reason
  /// The step that met it.
  public var phase: Phase
  /// The module's name.
  public var module: String
  /// The site's link-time address, where the error is about one site.
  public var offset: ModuleOffset?
  /// The site's function, where it is known.
  public var function: String?
  /// The bytes that should have been at the site.
  public var expected: [UInt8]
  /// What was found there instead; empty where it was not read.
  public var actual: [UInt8]
  /// A thread id, where one thread is the reason.
  public var thread: Int32
  /// errno of the system call that failed; 0 where none did.
  public var errorNumber: Int32
  /// Whether all that had been written was put back.
  public var isRolledBack: Bool
  /// Something was written that could not be put back: `audit` names it.
  public var isLeftChanged = false
}

extension PatchError: CustomStringConvertible {
  /// One line: what, where, expected and found, next step.
  public var description: String {
    var line = module.isEmpty ? "the program" : module
    if let offset { line += "+\(offset)" }
    if let function { line += " (\(function))" }
    line += ": \(sentence)"
    if isLeftChanged { line += " (what had been written could not be put back: audit names it)" }
    return isRolledBack ? line + " (what had been written was put back)" : line
  }

  private var expectedBytes: String { hexDigits(expected, separator: " ") }
  private var actualBytes: String { hexDigits(actual, separator: " ") }

  private var sentence: String {
    switch reason {
    case .moduleGone: "is not loaded, or another build of it is; nothing was written"
    case .stale:
      "modules were unloaded since this one was looked at; look again (nothing was written)"
    case .outsideText: "lies outside the module's executable segments; nothing was written"
    case .badPoke: "the pokes are not sorted, or overlap, or are not of 5 or 6 bytes"
    case .unreadable: "expected \(expectedBytes), but nothing is mapped there now"
    case .mismatch:
      "expected \(expectedBytes), found \(actualBytes)"
        + (actual.contains(0xcc)
          ? ": a debugger's breakpoint? Detach it first"
          : ": other code changed these bytes; nothing was written")
    case .unconfirmed:
      "\(expectedBytes) is not the instruction expected there, by Capstone's decoding"
    case .unwritable: unwritable
    case .notStopped: notStopped
    case .threadInside:
      "thread \(thread), or its vfork child, may be between the nops, and did not leave in time"
        + nothingWritten + ": try again, or with more time"
    case .unsuitable: "the protocol cannot patch this site; use stop-machine"
    case .readBack:
      "wrote, but read back \(actualBytes): other code patches this text too"
    case .noSync: "membarrier is refused (\(errorText)): live patching needs Linux 4.16 or later"
    case .trapTaken:
      "an int3 is needed here, and SIGTRAP has a handler that is not this library's: use the jump "
        + "guard, or remove that handler" + nothingWritten
    case .outOfReach: "its stub is out of reach of a 32-bit displacement"
    }
  }

  /// Said before the first byte is written; later the line's end says what became of the bytes.
  private var nothingWritten: String { phase == .write ? "" : "; nothing was written" }

  private var errorText: String { String(cString: strerror(errorNumber)) }

  private var unwritable: String {
    switch phase {
    case .open:
      "the text cannot be opened for writing (\(errorText)); nothing was written: try the other "
        + "writer (mprotect, procmem)"
    case .close: "written, but the text could not be closed again (\(errorText))"
    default: "the write was refused (\(errorText)): try the other writer (mprotect, procmem)"
    }
  }

  private var notStopped: String {
    switch errorNumber {
    case EPERM:
      "thread \(thread) blocks SIGTRAP: an int3 would kill it; "
        + "unblock it, or use the jump guard" + nothingWritten
    case EAGAIN where thread != 0:
      "thread \(thread) could not be sent a signal: the queue of signals stayed full "
        + "(ulimit -i)" + nothingWritten
    case ETIMEDOUT where thread != 0:
      "thread \(thread) did not stop in time (does it block every signal?)"
        + nothingWritten
    default: "the threads could not be stopped (\(errorText))" + nothingWritten
    }
  }
}
