// SPDX-License-Identifier: Apache-2.0

import PatchBench

/// The measurement as text: 80 columns.
struct BenchTable {
  private let report: BenchReport

  init(_ report: BenchReport) { self.report = report }

  var text: String {
    var lines = [
      "\(grouped(report.sites)) call sites, \(neutralised(report.library)), medians of "
        + "\(report.rounds) round\(report.rounds == 1 ? "" : "s")",
      "", row("", "", "thr", "ns/site", "cpu ns", "x dec", "x dec0", "goals"),
    ]
    lines += report.results.map(line)
    lines += [""] + notes
    return lines.joined(separator: "\n") + "\n"
  }

  // MARK: - Rows

  private func line(_ result: BenchResult) -> String {
    let what =
      switch result.name {
      case .capstoneOnly: "\(result.from ?? "")s"
      case .patchFirst, .patchRepeat: "\(result.from ?? "") > \(result.to ?? "")"
      case .scan: fixed(result.megabytesPerSecond ?? 0, 0) + " MB/s"
      case .confirm: ""
      }
    return row(
      result.name.rawValue, what, "\(result.threads)", fixed(result.nanosecondsPerSite, 1),
      fixed(result.cpuNanosecondsPerSite, 1), result.ratio.map { fixed($0, 2) } ?? "",
      result.ratioToUndisturbed.map { fixed($0, 2) } ?? "",
      result.goals.map(goal).joined(separator: ", "))
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

  private func row(
    _ name: String, _ what: String, _ threads: String, _ time: String, _ cpu: String,
    _ ratio: String, _ undisturbed: String, _ goals: String
  ) -> String {
    let line =
      padded(name, 14) + padded(what, 11) + right(threads, 3) + right(time, 9) + right(cpu, 7)
      + right(ratio, 6) + right(undisturbed, 7) + "  " + goals
    return String(line.reversed().drop { $0 == " " }.reversed())
  }

  private func padded(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(0, width - text.count))
  }

  private func right(_ text: String, _ width: Int) -> String {
    String(repeating: " ", count: max(0, width - text.count)) + text
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
      notes.append("calls meanwhile: \(grouped(Int(calls))), \(grouped(Int(wrong))) wrong.")
    } else {
      notes.append("with threads: not measured; --call names a function for them to call.")
    }
    let kernel = report.kernel.map { "\(fixed($0.nanosecondsPerSite, 0)) ns a site at boot" }
    notes.append("this kernel's ftrace: \(kernel ?? "458 ns a site assumed")")
    notes.append("  (\(report.kernelNote)).")
    return notes
  }
}

/// `12.30`.
func fixed(_ value: Double, _ digits: Int) -> String {
  var scale = 1.0
  for _ in 0..<digits { scale *= 10 }
  guard value.isFinite, abs(value) < 1e15 else { return "?" }
  let scaled = Int((abs(value) * scale).rounded())
  let (whole, rest) = (scaled / Int(scale), String(scaled % Int(scale)))
  let sign = value < 0 ? "-" : ""
  if digits == 0 { return "\(sign)\(whole)" }
  return "\(sign)\(whole)." + String(repeating: "0", count: digits - rest.count) + rest
}
