// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// What a user meets first: the version, the description that manual pages and completions are made
/// of.
@Suite struct FrontDoorTests {
  @Test(
    "--version prints one line, of the program and of each command",
    arguments: [[], ["report"], ["record"]])
  func version(command: [String]) throws {
    let result = try runNopscope(command + ["--version"])
    #expect(result.ending == .exit(0))
    #expect(result.output.wholeMatch(of: /nopscope [0-9]+\.[0-9]+\.[0-9]+\n/) != nil)
    #expect(result.standardError == "")
  }

  /// The commands as the program describes them to generate-manual.
  private func commands() throws -> [[String: Any]] {
    let result = try runNopscope(["--experimental-dump-help"])
    let root = try #require(try jsonObject(Data(result.output.utf8))["command"] as? [String: Any])
    let all = [root] + (root["subcommands"] as? [[String: Any]] ?? [])
    #expect(all.count > 10)
    return all.filter { $0["commandName"] as? String != "help" }
  }

  @Test("each command has what its manual page is made of, in lines that fit 80 columns")
  func pages() throws {
    for command in try commands() {
      let name = try #require(command["commandName"] as? String)
      let abstract = try #require(command["abstract"] as? String, "\(name)")
      #expect(abstract.hasSuffix(".") && !abstract.contains("\n"), "\(name)")
      let lines = (command["discussion"] as? String ?? "").split(separator: "\n")
      guard let examples = lines.firstIndex(of: "EXAMPLES") else {
        // A group of commands, whose own pages have them.
        #expect(command["subcommands"] != nil && name != "nopscope", "\(name): no EXAMPLES")
        continue
      }
      // man indents by 5. Lists in columns stay as they are.
      for line in lines[..<examples] where line.prefixMatch(of: /[a-z_]+ {2,}/) != nil {
        #expect(line.count + 5 <= 80, "\(name): \(line)")
      }
      // Of our own indentation of 2 nothing is left.
      for line in lines[examples...] where line.hasPrefix("  ") {
        #expect(line.count - 2 + 5 <= 80, "\(name): \(line)")
      }
      for argument in command["arguments"] as? [[String: Any]] ?? [] {
        let help = argument["abstract"] as? String
        #expect(help?.isEmpty == false, "\(name): \(argument["valueName"] ?? argument)")
      }
    }
  }

  @Test("completions are written for each shell", arguments: ["bash", "zsh", "fish"])
  func completions(shell: String) throws {
    let result = try runNopscope(["--generate-completion-script", shell])
    #expect(result.ending == .exit(0))
    for command in try commands().dropFirst() {
      #expect(result.output.contains(try #require(command["commandName"] as? String)))
    }
    // Loading them is what scripts/check-install does; here, that bash can read its own.
    guard shell == "bash" else { return }
    let script = try TemporaryFolder.shared.fresh("completions") + "/nopscope"
    try result.output.write(toFile: script, atomically: true, encoding: .utf8)
    let loaded = try runChild(
      try #require(Tools.find("bash")),
      ["--norc", "-c", "source '\(script)' && complete -p nopscope"])
    #expect(loaded.ending == .exit(0))
    #expect(loaded.output.hasSuffix(" nopscope\n"))
  }
}
