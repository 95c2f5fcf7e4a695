// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// What a whole demo tells, in which order, and in how many columns.
@Suite(.serialized, .enabled(if: Tools.hasScript, "script (util-linux) is not here"))
struct DemoStoryTests {
  /// A whole demo on a terminal of 60 columns.
  private static let narrow = Result<ChildResult, any Error> {
    try runNopscopeOnTerminal("demo --no-pause", columns: 60)
  }

  private static let red = "\u{1b}[1;31m"
  private static let green = "\u{1b}[32m"

  /// Without colours.
  private func plain(_ output: String) -> String {
    output.replacing(#/\u{1b}\[[0-9;]*m/#, with: "").replacing("\r\n", with: "\n")
  }

  private func words(_ text: some StringProtocol) -> String {
    text.split { $0.isWhitespace }.joined(separator: " ")
  }

  @Test("it begins with who, when, e1000e and BROKEN; the erased card is the first scene")
  func beginning() throws {
    let text = try plain(Self.narrow.get().output)
    let first = try #require(text.split(separator: "\n").first)
    for word in ["2008", "e1000e", "BROKEN"] { #expect(first.contains(word), "\(first)") }
    let scenes = text.split(separator: "\n-- ")
    let opening = words(scenes[0])
    for word in ["August and September 2008", "2.6.27", "ftrace", "Steven Rostedt", "laptops"] {
      #expect(opening.contains(word), "\(opening)")
    }
    let flash = try #require(scenes.dropFirst().first)
    #expect(flash.hasPrefix("flash: what happened: "))
    let before = try #require(flash.firstMatch(of: #/NVM before  ((?:[0-9a-f]{2} )+)…/#)?.1)
    let after = try #require(flash.firstMatch(of: #/NVM after   ((?:ff )+)…/#)?.1)
    #expect(before.count == after.count && before != after)
    #expect(flash.contains("erased: no valid NVM is left"))
    #expect(
      words(flash).contains("1 read and 1 write of the card's registers; the card ran 1 erase"))
  }

  @Test(
    "a term is explained where it is first used",
    arguments: [
      ("NVM", "NVM, non-volatile memory"), ("PR0", "PR0 the register \"protected range 0\""),
      ("zap", "zap to zap is to drop"), ("cmpxchg", "compare-and-swap (cmpxchg"),
      ("BABA", "checksum BABA, which is valid"),
    ])
  func terms(term: String, explanation: String) throws {
    let text = try words(plain(Self.narrow.get().output))
    let use = try #require(text.range(of: term))
    let explained = try #require(text.range(of: explanation))
    #expect(explained.contains(use.lowerBound), "\(text[use.lowerBound...].prefix(80))")
  }

  @Test("what the designs make of the cells is confirmed, not foreseen")
  func confirmed() throws {
    let text = try words(plain(Self.narrow.get().output))
    #expect(text.matches(of: #/: confirmed; a stale record wrote in \d+ of \d+ cases/#).count == 4)
    #expect(!text.contains("foreseen"))
  }

  @Test("at 60 columns no line of the whole demo is longer, and lines are filled")
  func narrow() throws {
    let result = try Self.narrow.get()
    #expect(result.ending == .exit(0))
    let lines = plain(result.output).split(separator: "\n")
    for line in lines { #expect(line.count <= 60, "\(line.count): \(line)") }
    #expect(lines.count { $0.count > 54 } > 20)
    #expect(!result.output.contains(#/\{(good|bad|warn|dim|code|head|\/)\}/#))
  }

  @Test(
    "a wider terminal gets lines of up to 80 columns, and so does a pipe",
    arguments: [(60, 60), (70, 70), (80, 80), (120, 80)])
  func widths(columns: Int, most: Int) throws {
    let result = try runNopscopeOnTerminal("demo --scene flash", columns: columns)
    let longest = plain(result.output).split(separator: "\n").map(\.count).max() ?? 0
    #expect((most - 3...most).contains(longest), "\(longest)")
    let piped = try runNopscope(["demo", "--scene", "flash"])
    #expect((77...80).contains(piped.output.split(separator: "\n").map(\.count).max() ?? 0))
  }

  @Test("a library's demo fits 60 columns, too")
  func library() throws {
    let path = try Fixture(.clang, ["-O2", "-pg"], source: DemoLibraryTests.source).build()
    let result = try runNopscopeOnTerminal(
      "demo --library '\(path)' --call workload", columns: 60)
    #expect(result.ending == .exit(0), "\(result.output)")
    for line in plain(result.output).split(separator: "\n") {
      #expect(line.count <= 60, "\(line.count): \(line)")
    }
  }

  @Test("the table of the card is in colour on a terminal: red where it is harmed, else green")
  func colouredTable() throws {
    let result = try runNopscopeOnTerminal("demo --scene flash")
    let rows = result.output.split(separator: "\n").filter { $0.contains("BABA -> ") }
    #expect(rows.count == 6)
    for row in rows {
      let isErased = row.contains("none")
      #expect(row.contains(isErased ? "\(Self.red)none" : "BABA -> \(Self.green)BABA"), "\(row)")
      #expect(row.contains("\(Self.red)1/1") == row.contains("1/1"), "\(row)")
      #expect(row.contains("\(Self.green)0/0") == row.contains("0/0"), "\(row)")
      #expect(row.contains("\(Self.green)works on") == row.contains("works on"), "\(row)")
    }
    let piped = try runNopscope(["demo", "--scene", "flash"], environment: ["TERM": "xterm"])
    #expect(!piped.output.contains("\u{1b}"))
    #expect(piped.output.split(separator: "\n").count { $0.contains("BABA -> ") } == 6)
  }

  @Test("the last screen is one frame of this run's own counts, and then the closing line")
  func frame() throws {
    let text = try plain(Self.narrow.get().output)
    let lines = text.split(separator: "\n")
    let top = try #require(lines.firstIndex { $0.hasPrefix("┌") })
    let bottom = try #require(lines.firstIndex { $0.hasPrefix("└") })
    #expect(lines.count { $0.hasPrefix("┌") } == 1)
    #expect(lines[top...bottom].allSatisfy { $0.count == 60 && "┐│┘".contains($0.last ?? " ") })
    #expect(bottom == lines.count - 2)
    let frame = lines[top...bottom].joined(separator: "\n")
    // What the scene `unload` said of each engine in this run.
    let claims = words(text).matches(
      of: #/(2\.6\.2[78][^:]{0,12}): confirmed; a stale record wrote in (\d+) of (\d+) cases/#)
    #expect(claims.count == 4)
    for claim in claims {
      let card = claim.1 == "2.6.27 as shipped" ? "erased" : "intact"
      #expect(words(frame).contains("\(claim.1): \(claim.2) of \(claim.3) wrote, card \(card)"))
    }
  }

  @Test("the frame has the engines that were shown, and there is none for chosen scenes")
  func frameOfSome() throws {
    let some = try runNopscope(["demo", "--engine", "static"], timeoutSeconds: 120)
    let rows = some.output.split(separator: "\n").filter { $0.hasPrefix("│  2.6.2") }
    #expect(rows.count == 1)
    #expect(rows.first?.contains("2.6.28:              0 of 12 wrote, card intact") == true)
    let chosen = try runNopscope(["demo", "--scene", "unload"])
    #expect(!chosen.output.contains("┌"))
  }
}
