// SPDX-License-Identifier: Apache-2.0

import CUnloadLab
import Glibc
public import Units

/// One instruction's access to watched memory, as the CPU ran it.
public struct MemoryAccess: Sendable, Equatable {
  /// Of the first watched byte touched.
  public var address: CodeAddress
  /// Of that byte, from the watch's start.
  public var offset: UInt64
  /// Of the instruction.
  public var programCounter: CodeAddress
  /// Of the page fault: bit 0 the page was present, bit 1 a write (Intel SDM, volume 3, 4.7).
  public var errorCode: UInt64
  /// Bytes; 0 if Capstone could not tell.
  public var width: Int
  /// It reads.
  public var isRead: Bool
  /// It has a write cycle.
  public var isWrite: Bool
  /// It has a lock prefix.
  public var isLocked: Bool
  /// A compare-and-exchange that found another value: its write cycle took place all the same.
  public var compareFailed: Bool
  /// Little-endian; the first 8 bytes of a wider access.
  public var valueBefore: UInt64
  /// Little-endian; the first 8 bytes of a wider access.
  public var valueAfter: UInt64

  init(_ access: nul_access) {
    address = CodeAddress(access.address)
    offset = access.offset
    programCounter = CodeAddress(access.pc)
    errorCode = access.error_code
    width = Int(access.width)
    isRead = access.is_read
    isWrite = access.is_write
    isLocked = access.locked
    compareFailed = access.compare_failed
    valueBefore = access.value_before
    valueAfter = access.value_after
  }

  /// Those of the current watch, or of the one that ended last, in order of time: the first
  /// `NUL_WATCH_LOG`.
  static func logged() -> [MemoryAccess] {
    var accesses: [MemoryAccess] = []
    var access = nul_access()
    while nul_watch_logged(accesses.count, &access) { accesses.append(MemoryAccess(access)) }
    return accesses
  }
}

/// Why memory could not be watched.
public enum WatchError: Error, Equatable, CustomStringConvertible {
  case misaligned(address: CodeAddress, length: Int)
  case alreadyWatching
  case noHandlerPlace
  case noDecoder
  case refused(address: CodeAddress, errno: Int32)

  init(status: Int32, address: CodeAddress, length: Int) {
    switch status {
    case EINVAL: self = .misaligned(address: address, length: length)
    case EBUSY: self = .alreadyWatching
    case ENOSPC: self = .noHandlerPlace
    case ELIBACC: self = .noDecoder
    default: self = .refused(address: address, errno: status)
    }
  }

  /// One line for people: what is wrong, where, and what helps.
  public var description: String {
    switch self {
    case .misaligned(let address, let length):
      "watch at \(address), \(length) bytes: expected whole pages of 4096"
    case .alreadyWatching:
      "watch: expected none, found one that is on: close that one (or its device) first"
    case .noHandlerPlace:
      "watch: no place left among the fault handlers (8): a handler was added that is not needed"
    case .noDecoder:
      "watch: Capstone gave no decoder: out of memory, or libcapstone is not the one built against"
    case .refused(let address, let errno):
      "watch at \(address): mprotect: \(String(cString: strerror(errno))): "
        + "is the whole range mapped?"
    }
  }
}

/// Pages on which each access by an ordinary instruction is seen, until `close`.
///
/// One at a time in a process, a device's included. The limits are listed in
/// CUnloadLab/include/watch.h.
public struct WatchedMemory: ~Copyable {
  /// What passes unseen.
  public enum Unwatched: Int32, Sendable {
    case nothing = 0  // PROT_NONE
    case reads = 1  // PROT_READ
    case readsAndFetches = 5  // PROT_READ | PROT_EXEC
  }

  /// How often what was done to the pages.
  public struct Counts: Sendable, Equatable {
    /// Instructions that ran.
    public var accesses: UInt64
    /// A read-modify-write is one of each.
    public var reads: UInt64
    /// A read-modify-write is one of each.
    public var writes: UInt64
    /// Locked write cycles that left the value as it was.
    public var unchangedLocked: UInt64
    /// Accesses beyond those the log holds.
    public var unlogged: UInt64
  }

  /// Watches `pages`, page-aligned, of a mapping of the caller's that outlives the watch.
  public init(_ pages: UnsafeMutableRawBufferPointer, unwatched: Unwatched = .nothing)
    throws(WatchError)
  {
    let status = nul_watch_start(
      pages.baseAddress, pages.count, unwatched.rawValue, nul_watch_hooks())
    guard status == 0 else {
      let address = pages.baseAddress.map { CodeAddress($0) } ?? .zero
      throw WatchError(status: status, address: address, length: pages.count)
    }
    final = PROT_READ | PROT_WRITE | (unwatched == .readsAndFetches ? PROT_EXEC : 0)
  }

  private let final: Int32

  /// How often what was done until now.
  public var counts: Counts { Self.readCounts() }
  /// The accesses until now, as far as the log has room.
  public var accesses: [MemoryAccess] { MemoryAccess.logged() }

  /// Ends the watch: the pages are readable and writable again, executable if they were.
  public consuming func close() {}

  deinit { _ = nul_watch_stop(final) }

  static func readCounts() -> Counts {
    let counts = nul_watch_read_counts()
    return Counts(
      accesses: counts.faults, reads: counts.reads, writes: counts.writes,
      unchangedLocked: counts.unchanged_locked, unlogged: counts.unlogged)
  }
}
