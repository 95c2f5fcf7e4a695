// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// Every command and every option: explained, in the manual, and tried by a test.
@Suite struct OptionTests {
  /// An option, a flag or an argument, as the argument parser's own dump has it.
  private struct Parameter: Decodable {
    struct Name: Decodable {
      var kind, name: String
      var text: String { (kind == "long" ? "--" : "-") + name }
    }
    var kind: String
    var names: [Name]?
    var valueName, abstract: String?
    var shouldDisplay: Bool

    /// As it is typed, the long name first; of an argument its name.
    var text: String {
      let longFirst = (names ?? []).sorted { $0.kind == "long" && $1.kind != "long" }
      return longFirst.first?.text ?? valueName ?? "?"
    }
    var isPositional: Bool { kind == "positional" }
  }
  private struct Command: Decodable {
    var commandName: String
    var abstract, discussion: String?
    var arguments: [Parameter]?
    var subcommands: [Command]?

    /// Without --help and --version, which are the parser's own.
    var own: [Parameter] {
      (arguments ?? []).filter { !["--help", "--version"].contains($0.text) }
    }
  }
  private struct Dump: Decodable { var command: Command }

  private func dump() throws -> Data {
    try runNopscope(["--experimental-dump-help"]).standardOutput
  }

  /// All but `help`, which is the parser's own.
  private func commands() throws -> [Command] {
    let root = try JSONDecoder().decode(Dump.self, from: dump()).command
    let commands = (root.subcommands ?? []).filter { $0.commandName != "help" }
    #expect(commands.count >= 14)
    return commands
  }

  @Test("each command, option and argument has a help text")
  func explained() throws {
    for command in try commands() {
      #expect(command.abstract?.isEmpty == false, "\(command.commandName)")
      for heading in ["EXAMPLES", "EXIT STATUS"] {
        #expect(command.discussion?.contains(heading) == true, "\(command.commandName): \(heading)")
      }
      for parameter in command.own {
        #expect(parameter.shouldDisplay, "\(command.commandName) \(parameter.text) is hidden")
        #expect(
          parameter.abstract?.isEmpty == false, "\(command.commandName) \(parameter.text)")
      }
    }
  }

  /// The words in quotes of all tests; a command line in one string is several.
  private static func words() throws -> [Set<String>] {
    let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent()
    let files = try #require(
      FileManager.default.enumerator(at: tests, includingPropertiesForKeys: nil))
    var all: [Set<String>] = []
    for case let file as URL in files where file.pathExtension == "swift" {
      if file.path == #filePath { continue }
      let text = try String(contentsOf: file, encoding: .utf8)
      let quoted = text.matches(of: /"((?:[^"\\\n]|\\.)*)"/).map(\.1)
      all.append(Set(quoted.flatMap { $0.split(separator: " ").map(String.init) }))
    }
    return all
  }

  @Test("each command and each of its options is in the source of a test, both in one file")
  func tested() throws {
    let files = try Self.words()
    #expect(files.count > 100)
    var missing: [String] = []
    for command in try commands() {
      let own = files.filter { $0.contains(command.commandName) }
      if own.isEmpty { missing.append(command.commandName) }
      for parameter in command.own where !parameter.isPositional {
        let names = (parameter.names ?? []).map(\.text)
        if !own.contains(where: { file in names.contains(where: file.contains) }) {
          missing.append("\(command.commandName) \(parameter.text)")
        }
      }
    }
    #expect(missing == [])
  }
}
