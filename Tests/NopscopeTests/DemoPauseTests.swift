// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

/// Where `nopscope demo` waits for its reader, and where it does not.
@Suite(.serialized) struct DemoPauseTests {
  private static var question: Regex<Substring> {
    #/Press Enter for the (?:next scene \(\d of \d\)|last screen)/#
  }

  /// Asked, answered (the terminal shows Enter as a new line), and taken away.
  private static var answered: Regex<(Substring, Substring)> {
    #/Press Enter for the ([^\n\u{1b}]+)\n\u{1b}\[1A\r\u{1b}\[K/#
  }

  private static let scenes = "--scene flash --scene cmpxchg --scene disabled --scene static"

  private func play(
    _ arguments: String = scenes, enters: Int, ahead: String = "",
    environment: [String: String] = [:], before: String = ""
  ) throws -> TypingReader {
    let reader = try TypingReader(
      "\(before) exec '\(Tools.nopscope)' demo \(arguments)", question: Self.question,
      answers: Array(repeating: "\n", count: enters), ahead: ahead, environment: environment)
    #expect(reader.status == 0, "\(reader.output)")
    return reader
  }

  private func heads(_ output: String) -> Int { output.matches(of: #/-- \w+: /#).count }

  @Test("on a terminal it waits for Enter before each scene but the first, and the last screen")
  func pauses() throws {
    let output = try play("", enters: 9).output
    let answers = output.matches(of: Self.answered)
    #expect(
      answers.map { String($0.1) } == (2...9).map { "next scene (\($0) of 9)" } + ["last screen"])
    for answer in answers {
      let next = output[answer.range.upperBound...].prefix(8)
      #expect(next.contains("-- ") || next.contains("┌─"), "\(next)")
    }
  }

  @Test("it goes on when Enter is typed; where the input ends it asks no more", arguments: 0...3)
  func waits(enters: Int) throws {
    let output = try play(enters: enters).output
    #expect(output.matches(of: Self.answered).count == enters)
    #expect(output.matches(of: Self.question).count == min(enters + 1, 3))
    #expect(heads(output) == 4)
  }

  @Test("an Enter that was typed ahead is an answer, and there is no question")
  func ahead() throws {
    let output = try play(enters: 1, ahead: "\n\n").output
    #expect(output.matches(of: Self.question).count == 1)
    #expect(output.contains("Press Enter for the next scene (4 of 4)"))
    #expect(heads(output) == 4)
  }

  @Test("no question with --no-pause and --json, and of one scene")
  func none() throws {
    let two = "--scene flash --scene static"
    for arguments in ["\(two) --no-pause", "\(two) --json", "--scene flash"] {
      let output = try play(arguments, enters: 0).output
      #expect(!output.contains("Press Enter"))
      #expect(output.contains("checksum"))
    }
  }

  @Test(
    "no question where stdin or stdout is no terminal", arguments: ["<&3", "</dev/null", "| cat"])
  func pipes(redirection: String) throws {
    // A pipe from which nothing ever comes.
    let pipe = try TemporaryFolder.shared.fresh("pipe") + "/pipe"
    let output = try play(
      "--scene flash --scene static \(redirection)", enters: 1,
      before: "mkfifo '\(pipe)'; exec 3<>'\(pipe)';"
    ).output
    #expect(heads(output) == 2)
    #expect(!output.contains("Press Enter"))
  }

  @Test("a dumb terminal is asked without escape sequences")
  func dumb() throws {
    let output = try play(enters: 3, environment: ["TERM": "dumb"]).output
    #expect(output.matches(of: Self.question).count == 3)
    #expect(!output.contains("\u{1b}"))
  }
}
