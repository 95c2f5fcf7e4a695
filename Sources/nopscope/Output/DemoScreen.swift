// SPDX-License-Identifier: Apache-2.0

import CommandOutput
import TextFormat
import UnloadLab

/// Scenes as text: in the terminal's columns, from 60 to 80; in 80 elsewhere.
///
/// In colour on a terminal; plain elsewhere, where NO_COLOR is set, and where TERM is dumb.
struct DemoScreen {
  private let isColoured = isOutputColoured
  private let width = min(80, max(SceneText.narrowest, outputWidth ?? 80))

  /// What all of it is about, before the first scene of a whole demo.
  func open() {
    let paragraphs = [
      "{head}nopscope demo: 2008, e1000e cards erased, ftrace BROKEN{/}",
      "In August and September 2008, laptops with release candidates of Linux 2.6.27 lost their "
        + "Intel network cards. The driver is e1000e; something overwrote the cards' flash memory. "
        + "The likely source was ftrace, the kernel's own function tracer: it patches the code "
        + "that it traces, and patched on at addresses that were no longer its own. On 15 October "
        + "2008, Linux 2.6.27.1 marked DYNAMIC_FTRACE as BROKEN, in a commit signed off by ftrace's "
        + "writer, Steven Rostedt. Linux 2.6.28, in December, has another design.",
      "Both designs run here, on a shared object that was compiled with -pg and loaded into this "
        + "process: first the erased card, then why, then the fix. Everything is measured in this "
        + "run, on real instructions in real memory; only the network card is a model.",
    ]
    for paragraph in paragraphs {
      let lines = wrapped(paragraph, first: "", rest: "", width: width)
      write(rendered(lines.joined(separator: "\n")) + "\n\n", to: 1)
    }
  }

  func show(_ report: SceneReport) {
    var lines = heading(report.name, report.title) + report.text.flatMap { $0.lines(width: width) }
    if !report.text.isEmpty { lines.append("") }
    for expectation in report.expectations {
      let mark = expectation.held ? "{good}  ok{/}     " : "{bad}  FAILED{/} "
      let rest = String(repeating: " ", count: mark.visibleLength)
      lines += wrapped(expectation.claim, first: mark, rest: rest, width: width)
    }
    write(rendered(lines.joined(separator: "\n")) + "\n\n", to: 1)
  }

  /// A whole demo's last screen: what this run measured, in a frame.
  func show(_ summary: RunSummary) {
    write(rendered(summary.frame(width: width).joined(separator: "\n")) + "\n\n", to: 1)
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

  private func heading(_ name: String, _ title: String) -> [String] {
    var lines = wrapped("\(name): \(title)", first: "-- ", rest: "   ", width: width - 1)
    let last = lines[lines.count - 1] + " "
    lines[lines.count - 1] = last + String(repeating: "-", count: max(0, width - 1 - last.count))
    return lines.map { "{head}\($0){/}" }
  }

  private static let marks = [
    "{good}": "\u{1b}[32m", "{bad}": "\u{1b}[1;31m", "{warn}": "\u{1b}[33m",
    "{dim}": "\u{1b}[2m", "{code}": "\u{1b}[36m", "{head}": "\u{1b}[1m", "{/}": "\u{1b}[0m",
  ]

  private func rendered(_ line: String) -> String {
    var text = line
    for (mark, escape) in DemoScreen.marks {
      text = text.replacing(mark, with: isColoured ? escape : "")
    }
    return text
  }
}
