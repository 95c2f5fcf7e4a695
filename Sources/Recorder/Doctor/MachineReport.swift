// SPDX-License-Identifier: Apache-2.0

import CRecorder
import Glibc
import RecordingSchema

/// What this machine allows: probed in this process, on memory of its own.
public struct MachineReport: Sendable {
  /// A way to write read-only text.
  public struct Writer: Equatable, Sendable {
    /// As the kernel calls it.
    public var name: String
    /// 0: it works; else the errno of the refusal.
    public var error: Int32

    /// Whether this machine allows it.
    public var isUsable: Bool { error == 0 }
    /// Why it is refused.
    public var reason: String? { error == 0 ? nil : systemError(error) }
  }

  /// A resource limit that a recording can run into.
  public struct Limit: Equatable, Sendable {
    /// As `nopscope doctor` prints it.
    public var name: String
    /// Nil: none.
    public var value: UInt64?
  }

  /// The kernel's release, as uname has it.
  public var kernel: String
  /// The TSC's frequency, measured.
  public var ticksPerSecond: UInt64
  /// One rate, in every sleep state: what times are made of.
  public var areTicksSteady: Bool
  /// The ways to write text, and which of them work.
  public var writers: [Writer]
  /// membarrier's PRIVATE_EXPEDITED_SYNC_CORE: what patching without stopping needs.
  public var canSyncCores: Bool
  /// A CET shadow stack: it forbids hooked returns.
  public var hasShadowStack: Bool
  /// The limits of a process that is started from here.
  public var limits: [Limit]

  /// Ways to patch beside running threads.
  public var protocols: [String] {
    guard writers.contains(where: \.isUsable) else { return [] }
    return ["stop-machine"] + (canSyncCores ? ["jump guard", "breakpoint"] : [])
  }

  /// Whether text is both writable and executable while it is written. Never else.
  public var opensText: Bool { writers.first?.isUsable == true }

  /// Tracers that can run here.
  public var tracers: [Tracer] { Self.tracers(hasShadowStack: hasShadowStack) }

  /// A shadow stack forbids the tracers that replace return addresses, and no others.
  static func tracers(hasShadowStack: Bool) -> [Tracer] {
    Tracer.allCases.filter { !hasShadowStack || !$0.hooksReturns }
  }

  /// Probes this machine.
  public init() {
    kernel = Self.kernelRelease()
    ticksPerSecond = TraceClock.measured(milliseconds: 10)
    areTicksSteady = nrc_ticks_are_steady()
    writers = [
      Writer(name: "mprotect", error: nrc_probe_mprotect("/proc/self/exe")),
      Writer(name: "/proc/self/mem", error: nrc_probe_process_memory("/proc/self/exe")),
    ]
    // Bits of MEMBARRIER_CMD_QUERY (include/uapi/linux/membarrier.h): the command and its
    // registration.
    let commands = nrc_membarrier_commands()
    canSyncCores = commands > 0 && commands & 0x60 == 0x60
    hasShadowStack = nrc_has_shadow_stack()
    limits = [
      Self.limit("file size", __rlimit_resource_t(1)),  // RLIMIT_FSIZE
      Self.limit("open files", __rlimit_resource_t(7)),  // RLIMIT_NOFILE
      Self.limit("address space", __rlimit_resource_t(9)),  // RLIMIT_AS
    ]
  }

  private static func limit(_ name: String, _ resource: __rlimit_resource_t) -> Limit {
    var limits = rlimit()
    guard getrlimit(resource, &limits) == 0, limits.rlim_cur != rlim_t.max else {
      return Limit(name: name, value: nil)
    }
    return Limit(name: name, value: UInt64(limits.rlim_cur))
  }

  private static func kernelRelease() -> String {
    var name = utsname()
    guard uname(&name) == 0 else { return "unknown" }
    return withUnsafeBytes(of: &name.release) { bytes in
      String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
  }
}

extension TraceClock {
  /// Ticks of the time stamp counter in a second, measured for so long.
  static func measured(milliseconds: UInt32) -> UInt64 {
    let clock = TraceClock()
    usleep(milliseconds * 1000)
    return clock.ticksPerSecond()
  }
}
