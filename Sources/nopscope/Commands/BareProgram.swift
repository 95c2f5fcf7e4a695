// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CRecorder
import CommandOutput
import Glibc

/// `nopscope PROGRAM [ARGUMENT]...`: record, then replay.
enum BareProgram {
  /// Whether the first word is a program's: neither an option nor a command of ours.
  ///
  /// A program that is called as one of our commands needs a slash, or `record --`.
  static func isMeant(by words: [String], commands: [String]) -> Bool {
    guard let first = words.first, !first.hasPrefix("-") else { return false }
    return !commands.contains(first)
  }

  /// Records, shows the recording where there is one, and ends as the program ended.
  static func run(_ words: [String], commands: [String]) -> Never {
    do {
      let settings = RecordSettings()
      let ending = try RecordRun(settings: settings, words: words).run()
      if commands.contains("replay") { show(settings.output) }
      try ending.passOn()
      Nopscope.exit()
    } catch {
      Nopscope.exit(withError: error)
    }
  }

  /// Runs `nopscope replay` on the recording: its pager and its colours are its own.
  private static func show(_ output: String) {
    let words = ["nopscope", "replay", output]
    var arguments = words.map { strdup($0) as UnsafeMutablePointer<CChar>? } + [nil]
    defer { for text in arguments { free(text) } }
    var child: pid_t = 0
    let error = "/proc/self/exe".withCString { path in
      arguments.withUnsafeMutableBufferPointer { arguments in
        var options = nrc_spawn_options()
        options.path = path
        options.arguments = UnsafePointer(arguments.baseAddress)
        options.environment = UnsafePointer(environ)
        options.output = -1
        options.error = -1
        return nrc_spawn(&options, &child)
      }
    }
    guard error == 0 else { return complain("replay: \(String(cString: strerror(error)))") }
    var status: Int32 = 0
    while waitpid(child, &status, 0) < 0 && errno == EINTR {}
  }
}
