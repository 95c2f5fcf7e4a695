// SPDX-License-Identifier: Apache-2.0
//
// Which thread of a process is interrupted, and whether it may be.

import Glibc

/// One thread, as /proc has it.
struct ThreadState {
  let thread: pid_t
  /// As in proc_pid_stat(5): R runs, S sleeps, D cannot be interrupted, T is stopped, Z has ended.
  let state: UInt8
  /// The system call in which it sleeps; nil: none.
  let call: Int?

  init?(_ thread: pid_t, of process: pid_t) {
    let folder = "/proc/\(process)/task/\(thread)/"
    guard let status = firstLine(folder + "stat"), let name = status.lastIndex(of: ")") else {
      return nil
    }
    self.thread = thread
    state = status[status.index(after: name)...].drop { $0 == " " }.utf8.first ?? 0
    call = firstLine(folder + "syscall").flatMap { Int($0.prefix { $0 != " " }) }
  }

  /// Lower is better: a sleeper is stopped at once, and nobody waits for it.
  var rank: Int {
    switch state {
    case UInt8(ascii: "S"): Self.endWithEINTR.contains(call ?? -1) ? 2 : 0
    case UInt8(ascii: "R"): 1
    default: 3
    }
  }

  /// Whether it can be stopped at all: it is not the parent of a vfork, say.
  var canBeStopped: Bool { state == UInt8(ascii: "S") || state == UInt8(ascii: "R") }

  /// Measured: these end with EINTR when they are interrupted, signal or none (visit.c mends that).
  /// epoll_wait, epoll_pwait, epoll_pwait2, rt_sigtimedwait, semtimedop, recvfrom, recvmsg.
  private static let endWithEINTR: Set<Int> = [232, 281, 441, 128, 220, 45, 47]
}

/// The threads of a process, those first that are interrupted best.
func threads(of process: pid_t) -> [ThreadState] {
  guard let folder = opendir("/proc/\(process)/task") else { return [] }
  defer { closedir(folder) }
  var found: [ThreadState] = []
  while let entry = readdir(folder) {
    let name = withUnsafeBytes(of: entry.pointee.d_name) {
      String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
    }
    if let thread = pid_t(name), let state = ThreadState(thread, of: process) {
      found.append(state)
    }
  }
  return found.sorted { ($0.rank, $0.thread) < ($1.rank, $1.thread) }
}

/// Nil where the file cannot be read.
func firstLine(_ path: String) -> String? {
  guard let file = fopen(path, "re") else { return nil }
  defer { fclose(file) }
  var line: UnsafeMutablePointer<CChar>?
  var room = 0
  defer { free(line) }
  let count = getline(&line, &room, file)
  guard count > 0, let line else { return nil }
  return String(cString: line).trimmingNewline
}

/// The values of /proc/PID/status, by name.
func statusValues(_ process: pid_t) -> [String: String]? {
  guard let file = fopen("/proc/\(process)/status", "re") else { return nil }
  defer { fclose(file) }
  var values: [String: String] = [:]
  var line: UnsafeMutablePointer<CChar>?
  var room = 0
  defer { free(line) }
  while getline(&line, &room, file) > 0, let line {
    let parts = String(cString: line).trimmingNewline.split(separator: ":", maxSplits: 1)
    guard parts.count == 2 else { continue }
    values[String(parts[0])] = String(parts[1].drop { $0 == "\t" || $0 == " " })
  }
  return values
}

extension String {
  fileprivate var trimmingNewline: String { hasSuffix("\n") ? String(dropLast()) : self }
}
