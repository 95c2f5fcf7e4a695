// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CRecorder
import CommandOutput
import Glibc
import Recorder
import TextFormat

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
    } catch let code as ExitCode {
      if code.rawValue == notFoundStatus, let near = nearest(words[0], commands) {
        complain("there is no command \(words[0]): did you mean nopscope \(near)?")
      }
      Glibc.exit(code.rawValue)
    } catch {
      Nopscope.exit(withError: error)
    }
  }

  private static let notFoundStatus = TargetError.notFound(name: "", isPath: false).exitStatus

  /// The command that a word may have meant: one or two letters differ, or stand in another order.
  static func nearest(_ word: String, _ commands: [String]) -> String? {
    let near = commands.map { ($0, distance(Array(word.utf8), Array($0.utf8))) }
    return near.filter { $0.1 <= 2 && $0.1 < word.utf8.count / 2 }.min { $0.1 < $1.1 }?.0
  }

  /// How many letters must be added, taken away, replaced or swapped with the next one.
  private static func distance(_ from: [UInt8], _ to: [UInt8]) -> Int {
    var before: [Int] = []
    var last = Array(0...to.count)
    for i in from.indices {
      var row = [i + 1]
      for j in to.indices {
        let replaced = last[j] + (from[i] == to[j] ? 0 : 1)
        var least = min(last[j + 1] + 1, row[j] + 1, replaced)
        if i > 0, j > 0, from[i] == to[j - 1], from[i - 1] == to[j] {
          least = min(least, before[j - 1] + 1)
        }
        row.append(least)
      }
      before = last
      last = row
    }
    return last[to.count]
  }

  /// Runs `nopscope replay` on the recording: its pager and its colours are its own.
  private static func show(_ output: String) {
    let error = runAndWait("/proc/self/exe", ["nopscope", "replay", output]).error
    if error != 0 { complain("replay: \(String(cString: strerror(error)))") }
  }
}

/// Runs a program with our own environment, input and outputs, and waits for its end: the errno where
/// it could not be started, and its status as wait(2) has it.
func runAndWait(_ path: String, _ words: [String]) -> (error: Int32, status: Int32) {
  var arguments = words.map(\.systemCopy) + [nil]
  defer { for text in arguments { free(text) } }
  var child: pid_t = 0
  let error = path.withSystemText { path in
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
  var status: Int32 = 0
  while error == 0 && waitpid(child, &status, 0) < 0 && errno == EINTR {}
  return (error, status)
}
