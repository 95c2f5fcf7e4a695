// SPDX-License-Identifier: Apache-2.0

import CPatchCore
import CUnloadLab
public import Units

/// A module's text whose functions call mcount.
public struct InstrumentedText: Equatable, Sendable {
  /// [start, end), in this process.
  public var start, end: CodeAddress
  /// What the module's `call mcount` calls: its PLT stub.
  public var mcountStub: CodeAddress

  /// A module's text, and what its `call mcount` calls.
  public init(start: CodeAddress, end: CodeAddress, mcountStub: CodeAddress) {
    self.start = start
    self.end = end
    self.mcountStub = mcountStub
  }

  /// The text around a call site that still holds its `e8` call; nil if no loaded module has such
  /// a site there.
  public init?(aroundCallAt ip: CodeAddress) {
    var (start, end, stub): (UInt64, UInt64, UInt64) = (0, 0, 0)
    guard nul_text_of_call(ip.rawValue, &start, &end, &stub) else { return nil }
    self.init(
      start: CodeAddress(start), end: CodeAddress(end), mcountStub: CodeAddress(stub))
  }
}

/// One record of the hash: a call site by the address of its call.
public struct SiteRecord: Equatable, Sendable {
  /// The kernel's FTRACE_FL_* of a record.
  public struct Flags: OptionSet, Sendable {
    /// The bits.
    public let rawValue: UInt64
    /// Flags of these bits.
    public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// The record is on the free list.
    public static let free = Flags(rawValue: 1 << 0)
    /// Patching failed once: never tried again.
    public static let failed = Flags(rawValue: 1 << 1)
    /// set_ftrace_filter chose it.
    public static let filter = Flags(rawValue: 1 << 2)
    /// The site calls the tracer.
    public static let enabled = Flags(rawValue: 1 << 3)
    /// set_ftrace_notrace chose it.
    public static let notrace = Flags(rawValue: 1 << 4)
    /// The site became a nop.
    public static let converted = Flags(rawValue: 1 << 5)
    /// A breakpoint of other code is there.
    public static let frozen = Flags(rawValue: 1 << 6)
  }

  /// Address of its call.
  public var ip: CodeAddress
  /// What the engine knows of it.
  public var flags: Flags
  /// Which of the hash's 1,024.
  public var bucket: Int
  /// Records before it in its bucket.
  public var depth: Int

  init(_ info: nul_record_info) {
    ip = CodeAddress(info.ip)
    flags = Flags(rawValue: info.flags)
    bucket = Int(info.bucket)
    depth = Int(info.depth)
  }
}

/// One patch the engine tried.
public struct SitePatch: Equatable, Sendable {
  /// The kernel's own numbers.
  public enum Result: UInt8, Sendable {
    /// Written, or the new bytes were there already.
    case done = 0
    case faulted = 1
    /// Other bytes stood there.
    case mismatch = 2
  }

  /// What a write was for.
  public enum Purpose: UInt8, Sendable {
    case convert = 0
    case enable = 1
    case disable = 2
  }

  /// 1 is the first since attach.
  public var sequence: UInt64
  /// Address of the site.
  public var ip: CodeAddress
  public var expected, replacement: [UInt8]
  /// What stood there: none (fault), four bytes (by the cmpxchg) or five (read before it).
  public var found: [UInt8]
  /// What the write did.
  public var result: Result
  /// What it was for.
  public var purpose: Purpose
  /// The compare-and-swap was executed: a locked cycle took place at the address, or a fault.
  public var wasExecuted: Bool

  init(_ entry: nul_patch_entry) {
    sequence = entry.sequence
    ip = CodeAddress(entry.ip)
    expected = withUnsafeBytes(of: entry.expected) { Array($0) }
    replacement = withUnsafeBytes(of: entry.replacement) { Array($0) }
    found = withUnsafeBytes(of: entry.found) { Array($0.prefix(Int(entry.found_length))) }
    result = Result(rawValue: entry.result) ?? .mismatch
    purpose = Purpose(rawValue: entry.purpose) ?? .convert
    wasExecuted = entry.executed
  }
}

/// Counts since attach.
public struct DaemonStatistics: Equatable, Sendable {
  public var mcountCalls, tracedCalls: UInt64
  /// Records in the hash; on the free list; in pages and never taken; lost to a reader that stayed.
  public var records, freeRecords, unusedRecords, limboRecords: UInt64
  /// Of 127 records.
  public var pages: UInt64
  /// call -> nop, done.
  public var conversions: UInt64
  /// All patches by result.
  public var done, faulted, mismatched: UInt64
  /// Records released at unload.
  public var released: UInt64
  /// Calls not recorded for want of a free record; from within the recorder; from sites that the
  /// engine does not handle.
  public var dropped, recursions, skippedCalls: UInt64
  /// Complete cycles of the daemon, and stops given up because `stopThread` did not come.
  public var cycles, stopFailures: UInt64
  /// The thread that did not come to a stop; 0: none.
  public var stopThread: Int32
  public var isTriggered, isTracing, isFiltered, isDisabled: Bool

  init(_ stats: nul_daemon_stats) {
    (mcountCalls, tracedCalls) = (stats.mcount_calls, stats.traced_calls)
    (records, freeRecords) = (stats.records, stats.free_records)
    (unusedRecords, limboRecords) = (stats.unused_records, stats.limbo_records)
    pages = stats.pages
    conversions = stats.conversions
    (done, faulted, mismatched) = stats.patches
    released = stats.released
    (dropped, recursions, skippedCalls) = (stats.dropped, stats.recursions, stats.skipped_calls)
    (cycles, stopFailures) = (stats.cycles, stats.stop_failures)
    stopThread = stats.stop_thread
    (isTriggered, isTracing) = (stats.triggered, stats.tracing)
    (isFiltered, isDisabled) = (stats.filtered, stats.disabled)
  }
}

/// What mcount does when a site calls it.
public enum McountMode: Int32, Sendable {
  /// Returns at once.
  case off = 0
  /// Counts: the stable kernel's answer, dynamic patching off, each call goes through mcount.
  case count = 1
  /// Records the site: an engine is attached.
  case record = 2

  /// The process's mode.
  ///
  /// `attach` sets `.record`, `detach` sets `.off`.
  public static var current: McountMode {
    get { McountMode(rawValue: nul_mcount_mode_now()) ?? .off }
    set { nul_mcount_set_mode(newValue.rawValue) }
  }

  /// Calls of mcount in the modes `.count` and `.record` since attach or `clearCounts`.
  public static var callCount: UInt64 { nul_mcount_calls() }
  /// Sets the counters of mcount back to 0.
  public static func clearCounts() { nul_counts_clear() }
}
