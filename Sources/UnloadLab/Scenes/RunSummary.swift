// SPDX-License-Identifier: Apache-2.0

/// What a whole demo comes to: for each engine, the cases in which its stale records wrote, and what
/// was left of the network card. All of it is counted from the run's reports.
public struct RunSummary {
  private struct Row {
    var engine: LabEngine
    var wrote, reached: Int
    var isErased: Bool?
  }

  private let rows: [Row]

  /// `reports` of the scenes `unload` and `flash`, among others.
  public init(_ reports: [SceneReport]) {
    let cells = reports.flatMap(\.cells)
    rows = LabEngine.allCases.compactMap { engine in
      let reached = cells.filter { $0.engine == engine && $0.isReachable }
      if reached.isEmpty { return nil }
      return Row(
        engine: engine, wrote: reached.count { $0.didWrite }, reached: reached.count,
        isErased: reports.compactMap { $0.isCardErased[engine] }.first)
    }
  }

  /// The lines of the frame, with marks, for so many columns, `SceneText.narrowest` at least.
  public func frame(width: Int) -> [String] {
    let inner = width - 6
    let title = " What this run measured "
    let rule = String(repeating: "─", count: width - 4 - title.count)
    let explained = wrapped(
      "A stale record: the address of a call site whose module is gone. The cases: what stood at "
        + "the address by then, and the record's state. The card is a model; erased: where a failed "
        + "compare-and-swap writes all ones.", first: "", rest: "", width: inner)
    let lines = [""] + rows.map(text) + [""] + explained
    let sides = lines.map { line in
      "│  " + line + String(repeating: " ", count: max(0, inner - line.visibleLength)) + "  │"
    }
    return ["┌─{head}\(title){/}\(rule)─┐"] + sides
      + ["└" + String(repeating: "─", count: width - 2) + "┘"]
  }

  private func text(_ row: Row) -> String {
    let name = row.engine.title
    let wrote = "\("\(row.wrote)".leftPadded(to: 2)) of \(row.reached) wrote"
    let writes = (row.wrote > 0 ? "{bad}" : "{good}") + wrote + "{/}"
    let card =
      switch row.isErased {
      case true?: ", {bad}card erased{/}"
      case false?: ", {good}card intact{/}"
      case nil: ""
      }
    return "{head}\(name):{/}".padded(to: 20) + writes + card
  }
}
