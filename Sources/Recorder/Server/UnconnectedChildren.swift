// SPDX-License-Identifier: Apache-2.0

import CRecordingABI
import Glibc

/// Processes that were started with our agent and may not have connected yet: the loader has to
/// load a child and its libraries before the agent in it can send its HELLO.
struct UnconnectedChildren {
  /// The variable that they have in their environment, with the zero byte behind it.
  private let wanted: [UInt8]

  init(socketPath: String) { wanted = Array("\(NREC_ENVIRONMENT)=\(socketPath)\0".utf8) }

  /// The running processes of this user whose environment has the variable, or cannot be known yet.
  /// Empty where no process or thread was started after `program`.
  func find(since program: pid_t) -> [pid_t] {
    guard Self.newestProcess() != program, let folder = opendir("/proc") else { return [] }
    defer { closedir(folder) }
    let ownStart = ProcessStatus(getpid())?.startTicks ?? 0
    var found: [pid_t] = []
    while let entry = readdir(folder) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) { name in
        name.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      guard let process = pid_t(name), process != getpid() else { continue }
      if mayHaveAgent(process, startedSince: ownStart) { found.append(process) }
    }
    return found
  }

  /// False if it is known that the process was not started with our agent.
  ///
  /// An exec takes the old environment away some time before the new one is there, and in between
  /// lets the one go on that called posix_spawn. So a new process without any environment may be
  /// ours.
  func mayHaveAgent(_ process: pid_t, startedSince ticks: UInt64 = 0) -> Bool {
    let environment = Self.environment(of: process)
    if !environment.isEmpty { return contains(environment) }
    guard geteuid() == 0 || isOwn(process), let status = ProcessStatus(process) else {
      return false
    }
    return !status.isKernelThread && status.isBusy && status.startTicks >= ticks
  }

  private func isOwn(_ process: pid_t) -> Bool {
    var information = stat()
    return stat("/proc/\(process)", &information) == 0 && information.st_uid == geteuid()
  }

  /// The process or thread id that the kernel gave out last in this namespace; nil without /proc.
  /// See proc_loadavg(5).
  private static func newestProcess() -> pid_t? {
    let text = String(decoding: read("/proc/loadavg", limit: 256), as: UTF8.self)
    return text.split(whereSeparator: \.isWhitespace).last.flatMap { pid_t($0) }
  }

  /// The environment that a process had at its exec; empty where the process is another user's, or
  /// has ended.
  private static func environment(of process: pid_t) -> [UInt8] {
    read("/proc/\(process)/environ", limit: 4 << 20)
  }

  /// Whether the environment has the variable. Each variable ends with a zero byte, the last one
  /// too.
  private func contains(_ environment: [UInt8]) -> Bool {
    var start = environment.startIndex
    while start < environment.endIndex {
      if environment[start...].starts(with: wanted) { return true }
      guard let end = environment[start...].firstIndex(of: 0) else { return false }
      start = end + 1
    }
    return false
  }

  private static func read(_ path: String, limit: Int) -> [UInt8] {
    let file = Descriptor(open(path, O_RDONLY | O_CLOEXEC))
    guard file.number >= 0 else { return [] }
    var bytes: [UInt8] = []
    while bytes.count < limit, let more = file.readSome(at: bytes.count, atMost: 1 << 16) {
      bytes += more
    }
    return bytes
  }
}
