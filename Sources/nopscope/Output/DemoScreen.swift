// SPDX-License-Identifier: Apache-2.0

import CommandOutput
import TextFormat
import UnloadLab

/// Scenes as text, in 80 columns.
///
/// In colour on a terminal; plain elsewhere, where NO_COLOR is set, and where TERM is dumb.
struct DemoScreen {
  private let isColoured = isOutputColoured

  func show(_ report: SceneReport) {
    var text = heading(report.name, report.title) + "\n"
    for line in report.lines { text += rendered(neutralised(line)) + "\n" }
    if !report.lines.isEmpty { text += "\n" }
    for expectation in report.expectations {
      let mark = expectation.held ? "{good}  ok{/}    " : "{bad}  FAILED{/}"
      text += rendered("\(mark) \(neutralised(expectation.claim))") + "\n"
    }
    write(text + "\n", to: 1)
  }

  /// What all of it is about, before the first scene of a whole demo.
  func open() {
    let text = """
      {head}nopscope demo{/}: the bug of 2008 that had dynamic ftrace marked BROKEN

      In 2008, laptops with kernels on their way to Linux 2.6.27 lost their Intel
      network cards: something overwrote the cards' flash. The likely source was the
      kernel's own function tracer, which patches the code that it traces, and patched
      on at addresses that were no longer its own.

      Here is that design again, and what replaced it, at work on a shared object that
      was compiled with -pg and loaded into this process. Everything is measured in
      this run, on real instructions in real memory; only the network card is a model.
      """
    write(rendered(text) + "\n\n", to: 1)
  }

  func close(_ reports: [SceneReport], _ time: Duration) {
    let expectations = reports.flatMap(\.expectations)
    let failed = expectations.count { !$0.held }
    let seconds = time.components.seconds
    let tenths = time.components.attoseconds / 100_000_000_000_000_000
    let verdict =
      failed == 0
      ? "{good}\(held(expectations.count)){/}"
      : "{bad}\(failed) of \(expectations.count) expectations failed{/}"
    let scenes = reports.count == 1 ? "1 scene" : "\(reports.count) scenes"
    write(rendered("\(scenes), \(verdict) (\(seconds).\(tenths) s)") + "\n", to: 1)
  }

  private func held(_ count: Int) -> String {
    count == 1 ? "its expectation held" : "all \(count) expectations held"
  }

  private func heading(_ name: String, _ title: String) -> String {
    let line = "-- \(name): \(title) "
    let rule = line + String(repeating: "-", count: max(0, 79 - line.count))
    return rendered("{head}\(neutralised(rule)){/}")
  }

  private static let marks = [
    "{good}": "\u{1b}[32m", "{bad}": "\u{1b}[1;31m", "{dim}": "\u{1b}[2m", "{code}": "\u{1b}[36m",
    "{head}": "\u{1b}[1m", "{/}": "\u{1b}[0m",
  ]

  private func rendered(_ line: String) -> String {
    var text = line
    for (mark, escape) in DemoScreen.marks {
      text = text.replacing(mark, with: isColoured ? escape : "")
    }
    return text
  }
}
