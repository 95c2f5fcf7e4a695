// SPDX-License-Identifier: Apache-2.0

import CRecorder
import Glibc
import TextFormat

/// The process of the program that is recorded: its start, the signals that are passed to it, its
/// end.
final class TargetProcess {
  let pid: pid_t
  /// Nil while it runs.
  private(set) var ending: TargetEnding?
  /// Once it has ended, Ctrl-C and its like are for nopscope: whether one has come.
  private(set) var isInterrupted = false
  private let loop: EventLoop
  private unowned let server: RecordServer
  private let signals: Descriptor
  /// Readable at its end; -1 before Linux 5.3.
  private let end: Descriptor
  private var signalRegistration, endRegistration: EventLoop.Registration?

  private static let heldSignals = [SIGINT, SIGQUIT, SIGTERM, SIGHUP].map { UInt32($0) }
  /// How often waitpid checks whether a process has ended, where no descriptor shows it.
  private static let askNanoseconds: UInt64 = 20_000_000

  /// Starts it with the agent preloaded, before whatever was preloaded already.
  ///
  /// `loop` takes note of its end and of signals, as long as this object is there.
  init(
    _ program: TargetProgram, _ words: [String], agent: String, server: RecordServer
  ) throws(TargetError) {
    guard let preload = AgentLibrary.preloadable(agent, folder: server.socketFolder) else {
      throw .notExecutable(
        path: program.path,
        reason: "the agent's path has a space or a colon, and cannot be linked in "
          + "\(server.socketFolder)")
    }
    loop = server.loop
    self.server = server
    // Signals are held before the program starts: a Ctrl-C during the start must not end nopscope
    // alone.
    var held = Self.heldSignals
    if let signal = server.options.snapshots.signal { held.append(UInt32(signal)) }
    signals = Descriptor(nrc_signals_hold(held, held.count))
    pid = try Self.start(
      program, words,
      Self.environment(
        preload, server.socketPath,
        isSanitized: QuickLook(path: program.image)?.loadsAddressSanitizer() ?? false))
    end = Descriptor(nrc_process_descriptor(pid))
    if signals.number >= 0 {
      signalRegistration = loop.add(signals.number) { [weak self] in self?.handleSignals() }
    }
    if end.number >= 0 {
      endRegistration = loop.add(end.number) { [weak self] in self?.checkEnd() }
    }
    if endRegistration == nil { askAgain() }
  }

  deinit {
    loop.remove(signalRegistration)
    loop.remove(endRegistration)
  }

  private static func start(
    _ program: TargetProgram, _ words: [String], _ variables: [String]
  ) throws(TargetError) -> pid_t {
    var arguments = words.map(\.systemCopy) + [nil]
    var settings = variables.map(\.systemCopy) + [nil]
    defer { for text in arguments + settings { free(text) } }
    var child: pid_t = 0
    let error = program.path.withSystemText { path in
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
      throw .notExecutable(path: program.path, reason: systemError(error))
    }
    return child
  }

  /// The program's environment, with ours: the agent before whatever was preloaded already, and
  /// ASan's check that nothing comes before it switched off, where it would end the program. The last
  /// of equal options counts.
  private static func environment(
    _ agent: String, _ socket: String, isSanitized: Bool
  ) -> [String] {
    var variables: [String] = []
    var preload = agent
    var sanitizer = "verify_asan_link_order=0"
    var next = environ
    while let entry = next.pointee {
      let variable = systemText(entry)
      next += 1
      if variable.hasPrefix("NOPSCOPE_AGENT=") { continue }
      if let others = value(of: "LD_PRELOAD", in: variable) {
        if !others.isEmpty { preload += ":" + others }
      } else if isSanitized, let others = value(of: "ASAN_OPTIONS", in: variable) {
        if !others.isEmpty { sanitizer = others + ":" + sanitizer }
      } else {
        variables.append(variable)
      }
    }
    if isSanitized { variables.append("ASAN_OPTIONS=" + sanitizer) }
    return variables + ["LD_PRELOAD=" + preload, "NOPSCOPE_AGENT=" + socket]
  }

  private static func value(of name: String, in variable: String) -> Substring? {
    variable.hasPrefix(name + "=") ? variable.dropFirst(name.utf8.count + 1) : nil
  }
}

// MARK: - While it runs

extension TargetProcess {
  private func checkEnd() {
    var status: Int32 = 0
    var result: pid_t
    repeat { result = waitpid(pid, &status, WNOHANG) } while result < 0 && errno == EINTR
    guard result != 0, ending == nil else { return }
    ending = result < 0 ? .exit(125) : TargetEnding(waitStatus: status)
    // The descriptor stays readable: each turn would call this again.
    loop.remove(endRegistration)
  }

  private func askAgain() {
    checkEnd()
    if ending != nil { return }
    loop.after(nanoseconds: Self.askNanoseconds) { [weak self] in self?.askAgain() }
  }

  /// Passes signals on to the program. Ctrl-C and Ctrl-\ it gets from the terminal itself.
  private func handleSignals() {
    var isFromTerminal = false
    while true {
      let signal = nrc_signals_next(signals.number, &isFromTerminal)
      if signal == 0 { return }
      if signal == server.options.snapshots.signal {
        server.takeSnapshotForSignal()
      } else if ending != nil {
        isInterrupted = true
      } else if !isFromTerminal || signal == SIGTERM {
        kill(pid, signal)
      }
    }
  }
}
