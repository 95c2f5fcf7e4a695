// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport

/// A program that runs while a test does something to it.
final class RunningProgram {
  let pid: pid_t
  private let output: FileHandle
  private var status: Int32?

  /// Starts it, without blocked signals, and waits until it has written something.
  init(_ path: String, _ arguments: [String] = []) throws {
    let pipe = Pipe()
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, pipe.fileHandleForWriting.fileDescriptor, 1)
    for end in [pipe.fileHandleForReading, pipe.fileHandleForWriting] {
      posix_spawn_file_actions_addclose(&actions, end.fileDescriptor)
    }
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
    var none = sigset_t()
    sigemptyset(&none)
    posix_spawnattr_setsigmask(&attributes, &none)
    let words = ([path] + arguments).map { strdup($0) } + [nil]
    defer { for word in words { free(word) } }
    var child: pid_t = 0
    let error = posix_spawn(&child, path, &actions, &attributes, words, environ)
    if error != 0 { throw TestSupportError("\(path): \(String(cString: strerror(error)))") }
    pid = child
    output = pipe.fileHandleForReading
    pipe.fileHandleForWriting.closeFile()
    _ = output.availableData
  }

  deinit {
    if status == nil { _ = end(SIGKILL) }
  }

  /// Sends the signal (0: none), and waits for its end: its status, or minus the signal that ended it.
  func end(_ signal: Int32 = SIGTERM) -> Int32 {
    kill(pid, signal)
    var found: Int32 = 0
    let deadline = Date().addingTimeInterval(60)
    while waitpid(pid, &found, WNOHANG) == 0 {
      if Date() > deadline { kill(pid, SIGKILL) }
      usleep(2000)
    }
    status = found
    return found & 0x7f == 0 ? found >> 8 & 0xff : -(found & 0x7f)
  }

  /// What it writes until its end.
  func rest() -> String { String(decoding: output.readDataToEndOfFile(), as: UTF8.self) }

  /// How many lines or entries a file or a folder in its /proc has.
  func count(_ name: String) -> Int {
    let path = "/proc/\(pid)/\(name)"
    if let names = try? FileManager.default.contentsOfDirectory(atPath: path) { return names.count }
    return (try? String(contentsOfFile: path, encoding: .utf8))?.split(separator: "\n").count ?? 0
  }
}
