// SPDX-License-Identifier: Apache-2.0
//
// The engine of Linux 2.6.27 in this process. The engine itself is C (CUnloadLab, daemon.h): it
// runs with threads stopped. This is its handle.

import CPatchCore
import CUnloadLab
public import Units

/// The 2.6.27 engine: discovers call sites by running them, turns them into nops once a second.
///
/// One may be attached at a time (the engine's state is the process's). Calls may come from any
/// thread, one at a time; none from a signal handler.
public final class DaemonEngine {
  /// What is added to the engine as it was.
  public enum Version: String, CaseIterable, Sendable {
    /// Nothing: the bug of 2.6.27.
    case shipped
    /// Bytes are read, compared and decoded before each compare-and-swap.
    case verified
    /// Records leave the hash when their module is unloaded.
    case zapped
  }

  /// Whose code it follows.
  public let version: Version
  /// Between the daemon's cycles; the kernel's was 1,000,000.
  public let intervalMicroseconds: UInt64
  /// Conversions in all, beyond which ftrace disables itself.
  public let conversionLimit: UInt64
  /// Between `attach` and `detach`.
  public private(set) var isAttached = false

  /// An engine with the kernel's interval and limit, unless others are given.
  public init(
    version: Version, intervalMicroseconds: UInt64 = 1_000_000, conversionLimit: UInt64 = 100_000
  ) {
    self.version = version
    self.intervalMicroseconds = intervalMicroseconds
    self.conversionLimit = conversionLimit
  }

  deinit {
    if isAttached { _ = nul_daemon_detach() }
  }

  /// Starts the daemon; from now on `mcount` records the sites of registered texts.
  public func attach() throws(DaemonEngineError) {
    var options = nul_daemon_options()
    options.version = version.number
    options.interval_microseconds = intervalMicroseconds
    options.conversion_limit = conversionLimit
    var step: UnsafePointer<CChar>?
    let status = nul_daemon_attach(&options, &step)
    guard status == 0 else {
      if nul_daemon_attached() { throw .alreadyAttached }
      throw .attachFailed(step: step.map { String(cString: $0) } ?? "", errno: status)
    }
    isAttached = true
  }

  /// Joins the daemon and drops all records and texts.
  ///
  /// Writes nothing: sites stay as they are.
  public func detach() {
    guard isAttached else { return }
    _ = nul_daemon_detach()
    isAttached = false
  }

  /// Makes a text known and opens it for writing, once, as the kernel's module text was.
  public func register(_ text: InstrumentedText) throws(DaemonEngineError) {
    try requireAttached()
    let status = nul_text_register(
      text.start.rawValue, text.end.rawValue, text.mcountStub.rawValue)
    guard status == 0 else { throw .textRefused(text, errno: status) }
  }

  /// Marks the site's record, so that only marked sites are enabled by the next `startTracer`.
  public func filter(_ ip: CodeAddress) throws(DaemonEngineError) { try mark(ip, .filter) }

  /// Marks the site's record, so that the next `startTracer` passes it by.
  public func notrace(_ ip: CodeAddress) throws(DaemonEngineError) { try mark(ip, .notrace) }

  private func mark(_ ip: CodeAddress, _ flag: SiteRecord.Flags) throws(DaemonEngineError) {
    try requireAttached()
    guard nul_record_mark(ip.rawValue, flag.rawValue, true) else { throw .noRecord(ip: ip) }
  }

  /// Takes the filter's marks from all records.
  public func clearFilters() { nul_filters_clear() }

  /// Suspends the daemon, converts what is pending and enables the sites, in one stop.
  ///
  /// While a tracer runs: applies changed filters.
  public func startTracer() throws(DaemonEngineError) { try switchTracer(on: true) }

  /// Disables the sites and lets the daemon go on.
  public func stopTracer() throws(DaemonEngineError) { try switchTracer(on: false) }

  private func switchTracer(on: Bool) throws(DaemonEngineError) {
    try requireAttached()
    let status = on ? nul_tracer_start() : nul_tracer_stop()
    guard status != 0 else { return }
    let now = statistics
    if now.isDisabled {
      throw .disabledItself(conversions: now.conversions, limit: conversionLimit)
    }
    throw .notStopped(starting: on, thread: now.stopThread, errno: status)
  }

  /// Holds the daemon's conversions back (the kernel's `ftraced_stop`); its cycles go on.
  public func setStopped(_ isStopped: Bool) { nul_daemon_set_stopped(isStopped) }

  /// Waits until the daemon has gone through a whole cycle that begins after this call.
  ///
  /// With `now` that cycle begins at once instead of when it is due.
  public func waitForCycle(
    timeoutMilliseconds: UInt32 = 5_000, now: Bool = false
  ) throws(DaemonEngineError) {
    try requireAttached()
    guard nul_daemon_wait_cycle(timeoutMilliseconds, now) else {
      throw .cycleTimedOut(milliseconds: timeoutMilliseconds)
    }
  }

  /// The record in the hash, or nil: never recorded, or released after a failure.
  public func record(at ip: CodeAddress) -> SiteRecord? {
    var info = nul_record_info()
    return nul_record_find(ip.rawValue, &info) ? SiteRecord(info) : nil
  }

  /// The latest patch of this site that the log still has (the last 4,096 of all sites).
  public func lastPatch(at ip: CodeAddress) -> SitePatch? {
    var entry = nul_patch_entry()
    return nul_last_patch(ip.rawValue, &entry) ? SitePatch(entry) : nil
  }

  /// The last patches of all sites, oldest first.
  public func patches(last count: Int = 4_096) -> [SitePatch] {
    var entries = [nul_patch_entry](repeating: nul_patch_entry(), count: count)
    let found = entries.withUnsafeMutableBufferPointer { nul_patch_log($0.baseAddress, $0.count) }
    return entries.prefix(found).map { SitePatch($0) }
  }

  /// Addresses of calls of mcount that are not `e8` calls in a registered text; at most 256.
  public var skippedSites: [CodeAddress] {
    var addresses = [UInt64](repeating: 0, count: Int(NUL_MAX_SKIPPED))
    let found = addresses.withUnsafeMutableBufferPointer { nul_skipped($0.baseAddress, $0.count) }
    return addresses.prefix(found).map { CodeAddress($0) }
  }

  /// The counters as they are now.
  public var statistics: DaemonStatistics {
    var stats = nul_daemon_stats()
    nul_daemon_get_stats(&stats)
    return DaemonStatistics(stats)
  }

  /// Releases the records of `text`, as an unload in the `zapped` version does by itself.
  /// - Returns: how many.
  @discardableResult
  public func release(_ text: Range<CodeAddress>) -> Int {
    nul_release(text.lowerBound.rawValue, text.upperBound.rawValue)
  }

  private func requireAttached() throws(DaemonEngineError) {
    guard isAttached else { throw .notAttached }
  }
}

extension DaemonEngine.Version {
  fileprivate var number: Int32 {
    switch self {
    case .shipped: Int32(NUL_SHIPPED)
    case .verified: Int32(NUL_VERIFIED)
    case .zapped: Int32(NUL_ZAPPED)
    }
  }
}
