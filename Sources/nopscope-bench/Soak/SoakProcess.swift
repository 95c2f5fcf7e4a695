// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A child process with a time limit, the leader of a group of its own. What it writes goes into
/// files: no pipe can fill up.
struct SoakProcess {
  enum Ending: Equatable, CustomStringConvertible {
    case exit(Int32)
    case signal(Int32)
    /// It was killed, and all its group, when its time was over.
    case timedOut(seconds: Int)

    var description: String {
      switch self {
      case .exit(let status): "exit status \(status)"
      case .signal(let number): "signal \(number)"
      case .timedOut(let seconds): "killed after \(seconds) s"
      }
    }
  }

  let identifier: pid_t
  let outputPath, errorPath: String

  var output: String { readText(outputPath) }
  var errors: String { readText(errorPath) }

  /// Starts `words`; its output goes to `stem`.out and .err.
  init(_ words: [String], stem: String, environment: [String] = []) throws(SoakDeviation) {
    outputPath = stem + ".out"
    errorPath = stem + ".err"
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    let create = O_WRONLY | O_CREAT | O_TRUNC
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, 1, outputPath, create, 0o600)
    posix_spawn_file_actions_addopen(&actions, 2, errorPath, create, 0o600)
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK))
    var noSignals = sigset_t()
    sigemptyset(&noSignals)
    posix_spawnattr_setsigmask(&attributes, &noSignals)
    let arguments = words.map { strdup($0) as UnsafeMutablePointer<CChar>? } + [nil]
    var settings: [UnsafeMutablePointer<CChar>?] = environment.map { strdup($0) }
    var index = 0
    while let variable = environ[index] {
      settings.append(strdup(variable))
      index += 1
    }
    settings.append(nil)
    defer { for text in arguments + settings { free(text) } }
    var child: pid_t = 0
    let error = posix_spawnp(&child, words[0], &actions, &attributes, arguments, settings)
    guard error == 0 else {
      throw SoakDeviation(
        description: "\(words[0]): cannot start: \(String(cString: strerror(error)))")
    }
    identifier = child
  }

  /// Waits for its end; kills its group when `seconds` are over.
  func wait(seconds: Int) -> Ending {
    var status: Int32 = 0
    let deadline = monotonicMilliseconds() + seconds * 1000
    while waitpid(identifier, &status, WNOHANG) == 0 {
      if monotonicMilliseconds() > deadline {
        kill(-identifier, SIGKILL)
        waitpid(identifier, &status, 0)
        return .timedOut(seconds: seconds)
      }
      usleep(5000)
    }
    let signal = status & 0x7f
    return signal == 0 ? .exit(status >> 8 & 0xff) : .signal(signal)
  }
}

func monotonicMilliseconds() -> Int {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return time.tv_sec * 1000 + time.tv_nsec / 1_000_000
}

/// A file as text; empty where it cannot be read.
func readText(_ path: String) -> String {
  String(decoding: readBytes(path), as: UTF8.self)
}

func readBytes(_ path: String) -> [UInt8] {
  let file = open(path, O_RDONLY | O_CLOEXEC)
  guard file >= 0 else { return [] }
  defer { close(file) }
  var bytes: [UInt8] = []
  var piece = [UInt8](repeating: 0, count: 1 << 16)
  while true {
    let count = read(file, &piece, piece.count)
    if count <= 0 { return bytes }
    bytes += piece[..<count]
  }
}

func writeBytes(_ bytes: [UInt8], to path: String) throws(SoakDeviation) {
  let file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o700)
  var done = 0
  while file >= 0, done < bytes.count {
    let count = bytes[done...].withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
    if count <= 0 { break }
    done += count
  }
  let error = errno
  if file >= 0 { close(file) }
  if file < 0 || done < bytes.count {
    throw SoakDeviation(
      description: "\(path): cannot be written: \(String(cString: strerror(error)))")
  }
}

/// Runs a tool that must succeed.
func runTool(_ words: [String], stem: String) throws(SoakDeviation) {
  let process = try SoakProcess(words, stem: stem)
  let ending = process.wait(seconds: 120)
  guard ending == .exit(0) else {
    throw SoakDeviation(
      description: "\(words.joined(separator: " ")): \(ending): \(process.errors)")
  }
}
