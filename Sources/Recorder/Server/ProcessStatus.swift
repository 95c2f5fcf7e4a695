// SPDX-License-Identifier: Apache-2.0

import Glibc

/// What the kernel says of a process in /proc/PID/stat, see proc_pid_stat(5).
struct ProcessStatus {
  /// `R` runs or is ready to, `D` waits for a disk, `S` sleeps, `T` is stopped, `Z` has ended.
  let state: UInt8
  /// Process id of its parent.
  let parent: pid_t
  /// A thread of the kernel, which has no memory of its own.
  let isKernelThread: Bool
  /// CPU time that all its threads have used, in clock ticks.
  let cpuTicks: UInt64
  /// When it was started, in clock ticks since boot.
  let startTicks: UInt64

  /// It neither sleeps nor is stopped, nor has it ended.
  var isBusy: Bool { state == UInt8(ascii: "R") || state == UInt8(ascii: "D") }

  private static let kernelThreadFlag: UInt64 = 0x0020_0000  // PF_KTHREAD, linux/sched.h

  /// Nil where there is no such process, or no /proc.
  init?(_ process: pid_t) {
    let file = Descriptor(open("/proc/\(process)/stat", O_RDONLY | O_CLOEXEC))
    guard file.number >= 0, let text = file.readSome(at: 0, atMost: 4096),
      // The name is in parentheses, and may hold blanks and parentheses.
      let name = text.lastIndex(of: UInt8(ascii: ")"))
    else { return nil }
    let fields = text[(name + 1)...].split(separator: UInt8(ascii: " "))
    func number(_ field: Int) -> UInt64? {
      UInt64(String(decoding: fields[field - 3], as: UTF8.self))
    }
    guard fields.count > 19, let state = fields[0].first, let parent = number(4),
      let flags = number(9),
      let user = number(14), let system = number(15), let start = number(22)
    else { return nil }
    self.state = state
    self.parent = pid_t(truncatingIfNeeded: parent)
    isKernelThread = flags & Self.kernelThreadFlag != 0
    cpuTicks = user + system
    startTicks = start
  }
}

/// Tells whether a process may still be on the way to its first message: the loader has to load it,
/// its libraries and the agent first.
///
/// That takes a moment of the CPU, and where other programs want the CPU too it takes long. So what
/// is limited is the CPU time that the process uses, and how long it sleeps: a start does not sleep.
struct StartProgress {
  private let process: pid_t
  private let latestTicks: UInt64
  private var lastTicks: UInt64
  private var looks = 0, idleLooks = 0

  /// A look each time that the event loop waits so long.
  static let lookNanoseconds: UInt64 = 50_000_000
  private static let mostIdleLooks = 20  // one second
  private static let mostLooks = 1200  // one minute

  init(of process: pid_t) {
    self.process = process
    let ticks = ProcessStatus(process)?.cpuTicks ?? 0
    lastTicks = ticks
    latestTicks = ticks + UInt64(max(1, sysconf(Int32(_SC_CLK_TCK))))  // one second
  }

  /// Looks at the process; false once its first message need not be waited for any more.
  mutating func mayBeStarting() -> Bool {
    looks += 1
    guard let now = ProcessStatus(process) else { return looks < Self.mostIdleLooks }
    if !now.isBusy, now.cpuTicks == lastTicks { idleLooks += 1 }
    lastTicks = now.cpuTicks
    return idleLooks < Self.mostIdleLooks && looks < Self.mostLooks && now.cpuTicks < latestTicks
  }
}
