// SPDX-License-Identifier: Apache-2.0

import CommandOutput
import PatchBench
import TextFormat

/// The measurement as text: 80 columns.
struct BenchTable {
  private let report: BenchReport

  init(_ report: BenchReport) { self.report = report }

  var text: String {
    let head =
      "\(grouped(report.sites)) call sites, \(neutralised(report.library)), medians of "
      + counted(report.rounds, "round")
    var table = TextTable(
      [
        .init("", width: 13), .init("", width: 10), .init("thr", .right),
        .init("ns/site", .right, width: 8), .init("cpu ns", .right), .init("x dec", .right),
        .init("x dec0", .right), .init(" goals"),
      ], gap: 1)
    for result in report.results { table.add(cells(result)) }
    return head + "\n\n" + table.text() + "\n" + notes.map { $0 + "\n" }.joined()
  }

  // MARK: - Rows

  private func cells(_ result: BenchResult) -> [String] {
    let what =
      switch result.name {
      case .capstoneOnly: "\(result.from ?? "")s"
      case .patchFirst, .patchRepeat: "\(result.from ?? "") > \(result.to ?? "")"
      case .scan: fixed(result.megabytesPerSecond ?? 0, 0) + " MB/s"
      case .confirm: ""
      }
    return [
      result.name.rawValue, what, "\(result.threads)", fixed(result.nanosecondsPerSite, 1),
      fixed(result.cpuNanosecondsPerSite, 1), result.ratio.map { fixed($0, 2) } ?? "",
      result.ratioToUndisturbed.map { fixed($0, 2) } ?? "",
      " " + result.goals.map(goal).joined(separator: ", "),
    ]
  }

  private func goal(_ goal: Goal) -> String {
    let limit =
      switch goal.measure {
      case .timesDecoding: "\(fixed(goal.limit, 1))x"
      case .nanosecondsPerSite: "\(fixed(goal.limit, 0)) ns"
      case .megabytesPerSecond: "\(fixed(goal.limit, 0)) MB/s"
      }
    return goal.isMet ? "\(limit) met" : "\(limit) NOT"
  }

  // MARK: - Notes

  private var notes: [String] {
    let patched = report.results.filter { $0.name == .patchRepeat }
    var notes = [
      "thr: threads executing the functions; cpu ns: what the patching thread ran of it;",
      "x dec: times Capstone's decoding of the same bytes under the same threads, and",
      "x dec0: with no thread; NOT: the goal was not met. All in this run.",
      "text: \(fixed(report.textBytesPerSite, 1)) bytes a site on \(grouped(report.pages)) pages, "
        + "each copied by the first transaction.",
      "table: \(report.tableBytesPerSite) bytes a site kept, "
        + "\(report.transactionBytesPerSite) more during a transaction.",
    ]
    if let method = patched.first?.method { notes.append("protocol: \(method).") }
    if let calls = patched.compactMap(\.calls).max() {
      let wrong = patched.compactMap(\.wrongResults).max() ?? 0
      notes.append("calls meanwhile: \(grouped(calls)), \(grouped(wrong)) wrong.")
    } else {
      notes.append("with threads: not measured; --call names a function for them to call.")
    }
    let kernel = report.kernel.map { "\(fixed($0.nanosecondsPerSite, 0)) ns a site at boot" }
    notes.append("this kernel's ftrace: \(kernel ?? "458 ns a site assumed")")
    notes.append("  (\(report.kernelNote)).")
    return notes
  }
}
