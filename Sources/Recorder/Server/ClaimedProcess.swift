// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Which process has claimed a place. It tells what it knows without a system call: the number that
/// it has for itself, which is another one in a PID namespace of its own, and which is its parent's
/// where it was forked without libc.
enum ClaimedProcess {
  /// Nil: it has ended already, or may not be looked at.
  static func find(_ claim: Arena.Claim, isTraced: (Int32) -> Bool) -> pid_t? {
    let ownStart = ProcessStatus(getpid())?.startTicks ?? 0
    if claim.thread > 0, !isTraced(claim.thread) {
      guard let status = ProcessStatus(claim.thread) else { return claim.thread }  // it has ended
      if status.startTicks >= ownStart { return claim.thread }
    }
    return search(claim.thread, ownStart, isTraced)
  }

  /// Looks for a process that has our arena and is not known yet.
  private static func search(
    _ number: Int32, _ ownStart: UInt64, _ isTraced: (Int32) -> Bool
  ) -> pid_t? {
    guard let folder = opendir("/proc") else { return nil }
    defer { closedir(folder) }
    var found: pid_t?
    while let entry = readdir(folder) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) { name in
        name.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      guard let process = pid_t(name), process != getpid(), !isTraced(process),
        let status = ProcessStatus(process), status.startTicks >= ownStart,
        status.state != UInt8(ascii: "Z"), Arena.isMapped(by: process)
      else { continue }
      if number > 0, innermostNumber(of: process) == number { return process }
      found = found ?? process
    }
    return found
  }

  /// The number that a process has in its own PID namespace, see proc_pid_status(5).
  private static func innermostNumber(of process: pid_t) -> pid_t? {
    let file = Descriptor(open("/proc/\(process)/status", O_RDONLY | O_CLOEXEC))
    guard file.number >= 0, let text = file.readSome(at: 0, atMost: 8192) else { return nil }
    let lines = text.split(separator: UInt8(ascii: "\n"))
    let line = lines.first { $0.starts(with: Array("NSpid:".utf8)) }
    let last = line?.split { $0 == UInt8(ascii: "\t") || $0 == UInt8(ascii: " ") }.last
    return last.flatMap { pid_t(String(decoding: $0, as: UTF8.self)) }
  }
}
