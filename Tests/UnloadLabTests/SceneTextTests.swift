// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import UnloadLab

/// The demo's text in lines, and its last screen, from made-up reports.
@Suite struct SceneTextTests {
  private func cell(_ engine: LabEngine, changed: Int, cycles: UInt64?) -> UnloadCell {
    UnloadCell(
      engine: engine, occupant: .otherBytes, record: .enabled, outcome: .untouched, deviceReads: 0,
      deviceWrites: 0, bytesChanged: changed, expected: .untouched, held: true, reads: nil,
      writeCycles: cycles, landed: true, noppedAgain: nil)
  }

  private func unreachable(_ engine: LabEngine) -> UnloadCell {
    var cell = cell(engine, changed: 0, cycles: nil)
    cell.outcome = .unreachable
    return cell
  }

  @Test("the last screen counts the cells of the reports, and names the card's fate")
  func summary() {
    var unload = SceneReport(name: "unload", title: "")
    unload.cells = [
      cell(.shipped, changed: 0, cycles: 0), cell(.shipped, changed: 0, cycles: 1),
      cell(.shipped, changed: 3, cycles: nil), cell(.static, changed: 1, cycles: 0),
      unreachable(.static),
    ]
    var flash = SceneReport(name: "flash", title: "")
    flash.isCardErased = [.shipped: false, .static: true]
    let frame = RunSummary([flash, unload]).frame(width: 60)
    let rows = frame.filter { $0.contains(" wrote") }
    #expect(rows.count == 2)
    #expect(
      rows[0].contains("{head}2.6.27 as shipped:{/}  {bad} 2 of 3 wrote{/}, {good}card intact"))
    #expect(rows[1].contains("{bad} 1 of 1 wrote{/}, {bad}card erased"))
    #expect(frame.allSatisfy { $0.visibleLength == 60 })
  }

  @Test("words are broken at the width, under their beginning; marks take no column")
  func wrapping() {
    let text = "{bad}one{/} two three four"
    #expect(
      wrapped(text, first: "- ", rest: "  ", width: 9) == [
        "- {bad}one{/} two", "  three", "  four",
      ])
    #expect(wrapped("", first: "- ", rest: "  ", width: 9) == ["- "])
    let item = SceneText.item("term", "one two three", width: 6)
    #expect(item.lines(width: 15) == ["  term  one two", "        three"])
    #expect(SceneText.blank.lines(width: 15) == [""])
  }

  @Test("a line that is too long is cut, and then has no marks")
  func cutting() {
    #expect(SceneText.line("{bad}one{/}").lines(width: 5) == ["  {bad}one{/}"])
    #expect(SceneText.line("{bad}seven{/}").lines(width: 5) == ["  sev"])
  }

  @Test("control characters are made visible before lines are broken")
  func control() {
    #expect(SceneText.paragraph("a\u{1b}b c").lines(width: 8) == ["  a\\x1bb", "  c"])
  }
}
