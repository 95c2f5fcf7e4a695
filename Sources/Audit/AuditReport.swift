// SPDX-License-Identifier: Apache-2.0
//
// What an audit finds: which bytes of a process's text are not those of the files it was loaded
// from, and which text could not be compared. It proves that text was restored.

public import Glibc
public import LivePatching
import TextFormat
public import Units

/// A run of neighbouring bytes that differ; or, where `isKnown`, one whole known change.
public struct TextDifference: Equatable, Sendable {
  /// The file, as the kernel names it; ` (deleted)` is part of the name of one that was unlinked.
  public var module: String
  /// Of the first byte, in the audited process.
  public var address: CodeAddress
  /// Of the first byte, in the file.
  public var fileOffset: UInt64
  /// The address that the linker gave it: what nm and objdump show.
  ///
  /// Nil where no program header says so, in files that are not 64-bit ELF.
  public var linkAddress: ModuleOffset?
  /// What the file has there.
  public var fileBytes: [UInt8]
  /// What memory has there.
  public var liveBytes: [UInt8]
  /// Every byte of it is accounted for by a known change.
  public var isKnown: Bool
}

/// Text of a file that was not compared, and why.
public struct UncomparedText: Equatable, Sendable {
  /// Why text was not compared.
  public enum Reason: Error, Equatable, Sendable {
    /// The file was deleted from its path, and the kernel does not let us open the mapped one.
    case deleted
    /// Another file has taken its path: the inodes, as mapped and as found.
    case replaced(mapped: UInt64, found: UInt64)
    /// An errno.
    case unopenable(Int32)
    /// Reading the file failed, with an errno.
    case fileUnreadable(Int32)
    /// DT_TEXTREL: the loader itself writes this module's text.
    case textRelocations
    /// Reading the memory failed, with an errno.
    case memoryUnreadable(Int32)
    /// It was unmapped, or another file was mapped there, while it was compared.
    case vanished
    /// The file has become shorter than its mapping.
    case beyondEndOfFile
    /// Inside an executable segment that is mapped otherwise: nothing, or memory of no file, is
    /// where this part of the file should be.
    case notMapped
  }

  /// Path of its file.
  public var module: String
  /// Where it is mapped.
  public var address: CodeAddress
  /// In bytes.
  public var length: UInt64
  /// Why it was not compared.
  public var reason: Reason
}

/// The outcome of one audit.
public struct AuditReport: Equatable, Sendable {
  /// Paths of the modules of which text was compared, by address.
  public var modules: [String] = []
  /// Bytes of text that were compared.
  public var bytesCompared: UInt64 = 0
  /// All that differ, known or not, listed or not.
  public var bytesDiffering: UInt64 = 0
  /// By address.
  public var differences: [TextDifference] = []
  /// Differing bytes beyond the first 8 MiB of them: counted, not listed.
  public var bytesUnlisted: UInt64 = 0
  /// Known changes that the text does not show: other code has undone or overwritten them, or
  /// their text was not compared.
  public var absentChanges: [KnownChange] = []
  /// Text that was not compared, with the reasons.
  public var uncompared: [UncomparedText] = []

  /// A report of nothing.
  public init() {}

  /// Differences that no known change explains.
  public var unknownDifferences: [TextDifference] { differences.filter { !$0.isKnown } }
}

/// Why there is no report at all.
public enum AuditError: Error, Equatable, Sendable {
  case noSuchProcess(pid_t)
  /// A kernel thread, or a process that has ended and waits to be reaped.
  case noText(pid_t)
  /// The kernel refused to open `path`, with an errno.
  case refused(pid_t, path: String, errno: Int32)
  case unreadable(path: String, errno: Int32)
}

extension AuditError: CustomStringConvertible {
  /// One line for people: what is wrong, where, and what helps.
  public var description: String {
    switch self {
    case .noSuchProcess(let process):
      "process \(process): no such process; ps -e lists those that run"
    case .noText(let process):
      "process \(process): it has no memory of its own: a kernel thread, or a process that has "
        + "ended; ps -p \(process) shows which"
    case .refused(let process, let path, let error):
      "process \(process): opening \(path): \(errorText(error)); audit a process of your own, or "
        + "as root (kernel.yama.ptrace_scope may restrict it to descendants)"
    case .unreadable(let path, let error):
      "\(path): \(errorText(error)); an audit needs /proc mounted"
    }
  }
}

extension UncomparedText.Reason: CustomStringConvertible {
  /// One line for people: what is wrong, where, and what helps.
  public var description: String {
    switch self {
    case .deleted:
      "its file was deleted, and opening it through /proc/PID/map_files needs CAP_CHECKPOINT_RESTORE"
    case .replaced(let mapped, let found):
      "another file has taken its path (inode \(found), mapped is \(mapped)), and opening the "
        + "mapped one through /proc/PID/map_files needs CAP_CHECKPOINT_RESTORE"
    case .unopenable(let error): "opening its file: \(errorText(error))"
    case .fileUnreadable(let error): "reading its file: \(errorText(error))"
    case .textRelocations: "it has text relocations: the loader itself writes its text"
    case .memoryUnreadable(let error): "reading the memory: \(errorText(error))"
    case .vanished: "it was unmapped or replaced while it was compared"
    case .beyondEndOfFile: "its file has become shorter than its mapping"
    case .notMapped: "other memory, or none, is where this part of its text should be"
    }
  }
}

extension TextDifference: CustomStringConvertible {
  /// `PATH+0x1a30: file e8 fb fc ff ff, live 0f 1f 44 00 00`.
  ///
  /// The number is the link-time address, or, where there is none, `@0x` and the offset in the
  /// file. Of a long run the first 32 bytes.
  public var description: String {
    let place =
      linkAddress.map { "+\($0)" } ?? "@\(hexAddress(fileOffset))"
    let known = isKnown ? " (ours)" : ""
    return "\(module)\(place): file \(excerpt(fileBytes)), live \(excerpt(liveBytes))\(known)"
  }

  private func excerpt(_ bytes: [UInt8]) -> String {
    let shown = hexDigits(bytes.prefix(32), separator: " ")
    return bytes.count > 32 ? "\(shown) ... (\(bytes.count) bytes)" : shown
  }
}
