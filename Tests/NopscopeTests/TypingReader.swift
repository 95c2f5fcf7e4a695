// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport

/// A shell's command on a pseudo-terminal, and somebody there who types when asked.
struct TypingReader {
  /// What the command and the echo of what was typed left on the terminal, with single newlines.
  var output: String
  var status: Int32

  /// Runs the command and types one of `answers` for each place where `question` appears; what comes
  /// before it is typed ahead. Once there are no answers left, the end of the input is typed.
  init(
    _ command: String, question: Regex<Substring>, answers: [String], ahead: String = "",
    environment: [String: String] = [:]
  ) throws {
    let (master, path) = try Self.openTerminal()
    defer { close(master) }
    let terminal = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC)
    var size = winsize(ws_row: 50, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0)
    _ = ioctl(terminal, UInt(TIOCSWINSZ), &size)
    Self.type(ahead, on: master)
    let child = try Self.spawn(command, on: path, environment)
    close(terminal)
    var bytes: [UInt8] = []
    var (left, asked) = (answers[...], 0)
    var isOver = false
    while !isOver {
      isOver = !Self.read(master, into: &bytes, from: child)
      let text = String(decoding: bytes, as: UTF8.self)
      while text.matches(of: question).count > asked {
        asked += 1
        Self.type(left.popFirst() ?? "\u{04}", on: master)
      }
    }
    var ending: Int32 = 0
    while waitpid(child, &ending, 0) < 0 && errno == EINTR {}
    status = ending
    output = String(decoding: bytes, as: UTF8.self).replacing("\r\n", with: "\n")
  }

  /// A new pseudo-terminal: our end, and the path of the other.
  private static func openTerminal() throws -> (master: Int32, path: String) {
    // posix_openpt and its kin are not among what Glibc exports; these are TIOCSPTLCK and TIOCGPTN.
    let (setLock, getNumber): (UInt, UInt) = (0x4004_5431, 0x8004_5430)
    var (isLocked, number): (Int32, UInt32) = (0, 0)
    let master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC)
    guard master >= 0, ioctl(master, setLock, &isLocked) == 0,
      ioctl(master, getNumber, &number) == 0
    else { throw TestSupportError("no pseudo-terminal: errno \(errno)") }
    return (master, "/dev/pts/\(number)")
  }

  private static func type(_ text: String, on master: Int32) {
    for byte in text.utf8 { _ = withUnsafeBytes(of: byte) { write(master, $0.baseAddress, 1) } }
  }

  /// False once the child has closed the terminal. Ends a child that says nothing for a minute.
  private static func read(
    _ master: Int32, into bytes: inout [UInt8], from child: pid_t
  ) -> Bool {
    var waiting = pollfd(fd: master, events: Int16(POLLIN), revents: 0)
    guard poll(&waiting, 1, 60_000) == 1 else {
      kill(child, SIGKILL)
      return false
    }
    var block = [UInt8](repeating: 0, count: 4096)
    let count = Glibc.read(master, &block, block.count)
    guard count > 0 else { return false }
    bytes += block.prefix(count)
    return true
  }

  private static func spawn(
    _ command: String, on path: String, _ environment: [String: String]
  ) throws -> pid_t {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, path, O_RDWR | O_NOCTTY, 0)
    posix_spawn_file_actions_adddup2(&actions, 0, 1)
    posix_spawn_file_actions_adddup2(&actions, 0, 2)
    var settings = ProcessInfo.processInfo.environment
    settings["NO_COLOR"] = nil
    settings.merge(["TERM": "xterm-256color"]) { $1 }
    settings.merge(environment) { $1 }
    var words = ["sh", "-c", command].map { (word: String) in strdup(word) } + [nil]
    var variables = settings.map { strdup("\($0)=\($1)") } + [nil]
    defer { for word in words + variables { free(word) } }
    var child: pid_t = 0
    let status = posix_spawn(&child, "/bin/sh", &actions, nil, &words, &variables)
    guard status == 0 else { throw TestSupportError("sh did not start: \(status)") }
    return child
  }
}
