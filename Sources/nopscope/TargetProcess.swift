// SPDX-License-Identifier: Apache-2.0

import CRecorder
import CommandOutput
import Glibc
import Recorder
import TextFormat

/// The program that runs, and the recorder's loop while it does.
final class TargetProcess {
  private let process: pid_t
  private let signals: Int32
  /// Readable at its end; -1 before Linux 5.3.
  private let end: Int32
  private var ending: TargetEnding?

  private static let held = [SIGINT, SIGQUIT, SIGTERM, SIGHUP].map { UInt32($0) }

  /// Starts it, with the agent preloaded before whatever was preloaded already.
  init(
    _ program: TargetProgram, _ words: [String], agent: String, server: RecordServer
  ) throws {
    guard let preload = AgentLibrary.preloadable(agent, folder: server.socketFolder) else {
      throw TargetError.notExecutable(path: program.path, reason: "cannot link the agent's path")
    }
    // Held before it starts, so that Ctrl-C during the start does not leave it alone.
    signals = nrc_signals_hold(Self.held, Self.held.count)
    let variables = Self.environment(preload, server.socketPath)
    var arguments = words.map { strdup($0) as UnsafeMutablePointer<CChar>? } + [nil]
    var settings = variables.map { strdup($0) as UnsafeMutablePointer<CChar>? } + [nil]
    defer { for text in arguments + settings { free(text) } }
    var child: pid_t = 0
    let error = program.path.withCString { path in
      arguments.withUnsafeMutableBufferPointer { arguments in
        settings.withUnsafeMutableBufferPointer { settings in
          var options = nrc_spawn_options()
          options.path = path
          options.arguments = UnsafePointer(arguments.baseAddress)
          options.environment = UnsafePointer(settings.baseAddress)
          options.output = -1
          options.error = -1
          return nrc_spawn(&options, &child)
        }
      }
    }
    guard error == 0 else {
      throw TargetError.notExecutable(
        path: program.path, reason: String(cString: strerror(error)))
    }
    process = child
    end = nrc_process_descriptor(child)
  }

  deinit {
    if signals >= 0 { close(signals) }
    if end >= 0 { close(end) }
  }

  private static func environment(_ agent: String, _ socket: String) -> [String] {
    var variables: [String] = []
    var preload = agent
    var next = environ
    while let entry = next.pointee {
      let variable = String(cString: entry)
      next += 1
      if variable.hasPrefix("NOPSCOPE_AGENT=") { continue }
      if variable.hasPrefix("LD_PRELOAD=") {
        let others = variable.dropFirst("LD_PRELOAD=".count)
        if !others.isEmpty { preload += ":" + others }
      } else {
        variables.append(variable)
      }
    }
    return variables + ["LD_PRELOAD=" + preload, "NOPSCOPE_AGENT=" + socket]
  }
}

// MARK: - The loop

extension TargetProcess {
  /// Serves until the program and every process that it left behind have ended; a Ctrl-C after its
  /// end stops waiting for those.
  func follow(_ server: RecordServer) -> TargetEnding {
    while ending == nil {
      let ready = server.turn(others: [end, signals], milliseconds: end < 0 ? 20 : -1)
      if ready.contains(1) { passSignals() }
      reap()
    }
    // What was on its way when it ended.
    _ = server.turn(others: [], milliseconds: 0)
    var isTold = false
    while server.activeProcesses > 0 || server.awaitNewcomers(of: process) {
      let ready = server.turn(others: [signals], milliseconds: isTold ? -1 : 200)
      if ready.contains(0), isInterrupted() { break }
      if ready.isEmpty, !isTold, server.connectedProcesses > 0 {
        tell(server.connectedProcesses)
        isTold = true
      }
    }
    return ending ?? .exit(125)
  }

  private func tell(_ count: Int) {
    let what = count == 1 ? "1 process it started is" : "\(grouped(count)) processes it started are"
    complain("the program has ended, \(what) still being recorded: Ctrl-C stops that")
  }

  private func reap() {
    var status: Int32 = 0
    var result: pid_t
    repeat { result = waitpid(process, &status, WNOHANG) } while result < 0 && errno == EINTR
    guard result != 0 else { return }
    let signal = status & 0x7f
    if result < 0 {
      ending = .exit(125)
    } else {
      ending = signal == 0 ? .exit(status >> 8 & 0xff) : .signal(signal)
    }
  }

  /// The terminal sends Ctrl-C and Ctrl-\ to the program itself; what others send us is for it.
  private func passSignals() {
    var isFromTerminal = false
    while true {
      let signal = nrc_signals_next(signals, &isFromTerminal)
      if signal == 0 { return }
      if !isFromTerminal || signal == SIGTERM { kill(process, signal) }
    }
  }

  private func isInterrupted() -> Bool {
    var isFromTerminal = false
    return nrc_signals_next(signals, &isFromTerminal) != 0
  }
}
