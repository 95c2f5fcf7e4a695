// SPDX-License-Identifier: Apache-2.0

import Foundation

/// How a child process ended, and what it wrote.
public struct ChildResult: Sendable {
  /// How a process ended.
  public enum Ending: Equatable, Sendable {
    case exit(Int32)
    case signal(Int32)
    /// It did not end within its time limit and was killed.
    case timedOut
  }

  /// How it ended.
  public var ending: Ending
  /// What it wrote there.
  public var standardOutput: Data
  /// What it wrote there, as text.
  public var standardError: String

  /// Its standard output as text.
  public var output: String { String(decoding: standardOutput, as: UTF8.self) }
  /// The exit status; nil if the child did not exit by itself.
  public var exitStatus: Int32? { if case .exit(let status) = ending { status } else { nil } }
}

/// Thrown if something that a test needs is missing, or if a tool failed.
public struct TestSupportError: Error, CustomStringConvertible {
  /// The message.
  public var description: String
  /// An error with this message.
  public init(_ description: String) { self.description = description }
}

/// Runs a program with a time limit.
///
/// The program writes to files, so no pipe can fill up. It leads a process group of its own. When
/// the time is over, the whole group is killed. `environment` is added to this process's variables;
/// the value nil removes a variable. Throws if the program cannot start.
public func runChild(
  _ executable: String, _ arguments: [String] = [], environment: [String: String?] = [:],
  input: Data? = nil, timeoutSeconds: Double = 60
) throws -> ChildResult {
  let folder = try TemporaryFolder.shared.fresh("child")
  defer { try? FileManager.default.removeItem(atPath: folder) }
  try (input ?? Data()).write(to: URL(fileURLWithPath: folder + "/in"))
  let child = try spawn(executable, arguments, environment, folder)
  let ending = wait(for: child, timeoutSeconds)
  return ChildResult(
    ending: ending,
    standardOutput: try Data(contentsOf: URL(fileURLWithPath: folder + "/out")),
    standardError: String(
      decoding: try Data(contentsOf: URL(fileURLWithPath: folder + "/err")), as: UTF8.self))
}

private func spawn(
  _ executable: String, _ arguments: [String], _ environment: [String: String?], _ folder: String
) throws -> pid_t {
  var actions = posix_spawn_file_actions_t()
  posix_spawn_file_actions_init(&actions)
  defer { posix_spawn_file_actions_destroy(&actions) }
  posix_spawn_file_actions_addopen(&actions, 0, folder + "/in", O_RDONLY, 0)
  let create = O_WRONLY | O_CREAT | O_TRUNC
  posix_spawn_file_actions_addopen(&actions, 1, folder + "/out", create, 0o600)
  posix_spawn_file_actions_addopen(&actions, 2, folder + "/err", create, 0o600)
  var attributes = posix_spawnattr_t()
  posix_spawnattr_init(&attributes)
  defer { posix_spawnattr_destroy(&attributes) }
  posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK))
  // A test runner blocks some signals. The child starts with none blocked, as from a shell.
  var noSignals = sigset_t()
  sigemptyset(&noSignals)
  posix_spawnattr_setsigmask(&attributes, &noSignals)
  var variables = ProcessInfo.processInfo.environment
  // A program built with -pg writes gprof's profile when it ends: here, not in the working folder.
  variables["GMON_OUT_PREFIX"] = TemporaryFolder.shared.path + "/gmon"
  for (name, value) in environment { variables[name] = value }
  let words = ([executable] + arguments).map { strdup($0) } + [nil]
  let settings = variables.map { strdup("\($0.key)=\($0.value)") } + [nil]
  defer { for text in words + settings { free(text) } }
  var child: pid_t = 0
  let status = posix_spawnp(&child, executable, &actions, &attributes, words, settings)
  guard status == 0 else {
    throw TestSupportError("\(executable): cannot start: \(String(cString: strerror(status)))")
  }
  return child
}

private func wait(for child: pid_t, _ timeoutSeconds: Double) -> ChildResult.Ending {
  let deadline = Date().addingTimeInterval(timeoutSeconds)
  var status: Int32 = 0
  var pauseMicroseconds: UInt32 = 200
  while waitpid(child, &status, WNOHANG) == 0 {
    if Date() > deadline {
      kill(-child, SIGKILL)
      waitpid(child, &status, 0)
      return .timedOut
    }
    usleep(pauseMicroseconds)
    pauseMicroseconds = min(pauseMicroseconds * 2, 20_000)
  }
  let signal = status & 0x7f
  return signal == 0 ? .exit((status >> 8) & 0xff) : .signal(signal)
}
