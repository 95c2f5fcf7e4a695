// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CommandOutput
import Filters
import Glibc
import RecordingReader
import TraceAnalysis

extension ReportOrder: ExpressibleByArgument {}
extension ReportGrouping: ExpressibleByArgument {}

struct ReportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "report",
    abstract: "Count and time the functions of a recording.",
    discussion: """
      One line a function, the longest SELF first. SELF is the time in the function without what it \
      called, SELF% its part of all time. TOTAL is with what it called, recursion counted once. AVG, \
      P99 and MAX are of single calls; P99 is right within 1 %. The tracers function, callgraph and \
      hits count calls and measure no times. All loads of one file are one module; --each-load tells \
      them apart.

      What a thread was in when its process ended comes first: a call that never returned lasts \
      until then.

      A terminal gets the first 25 functions, as wide as it is: columns are left out, then names are \
      cut. Elsewhere nothing is left out or cut.

      SOURCE is where a function is defined: programs that were compiled with -g have it. --by sums \
      the functions of a module, a source file, a thread or a process up. Its TOTAL counts a call only \
      where no other call of the same row is open below it, so that no time is counted twice.

      --uncalled lists the functions that were armed and never called. Functions that the rules left \
      out, and functions that could not be armed, are not in that list.

      EXAMPLES
        nopscope report
        nopscope report build.data --sort total --limit 20
        nopscope report handle_request
        nopscope report build.data 'parse_*'
        nopscope report --columns self,calls,p50,p99,max,function
        nopscope report --by file
        nopscope report --csv > report.csv
        nopscope report --json | jq '.functions[] | select(.calls > 1000).function'
        nopscope report new.data --diff old.data
        nopscope report --uncalled

      EXIT STATUS
        0  the recording was read; stderr names the parts that are damaged
        1  it cannot be read, or has no call
        3  a function is beyond a limit of --fail-if; stderr names it
        64 the command line is wrong
      """)

  @OptionGroup var recording: RecordingArguments

  @Argument(
    help: """
      Show only this function, with the times of its calls, its callers and callees: a name or a rule \
      as in --filter.
      """)
  var function: String?

  @Option(
    help: """
      Sort by \(ReportOrder.allCases.map(\.rawValue).joined(separator: ", ")). With --by: self, cpu, \
      wait, total, calls or name.
      """)
  var sort: ReportOrder?

  @Option(help: "Show only this many functions; 0: all. Default: 25 on a terminal, else all.")
  var limit: Int?

  @Option(
    help: """
      Show these columns, with commas between them: \
      \(ReportColumn.allCases.map(\.rawValue).joined(separator: ", ")).
      """)
  var columns: String?

  @Option(help: "Sum up by module, thread, process or file instead of function.")
  var by: ReportGrouping?

  @Flag(name: .customLong("each-load"), help: "Show each load of a file as a module of its own.")
  var eachLoad = false

  @Flag(help: "Write comma-separated values (RFC 4180): nanoseconds, whole paths.")
  var csv = false

  @Flag(name: .customLong("no-pager"), help: "Write to the terminal without a pager.")
  var noPager = false

  @Option(
    help: "Compare with an older recording, as nopscope diff OTHER DIR does.",
    completion: .directory)
  var diff: String?

  @Option(
    name: .customLong("fail-if"),
    help: ArgumentHelp(
      """
      End with status 3 if a function is beyond a limit: 'parse_*.p99>1ms', '*.self%>40'. May be \
      given more than once.
      """, valueName: "limit"))
  var failIf: [String] = []

  @Flag(help: "List the functions that could have been recorded and were never called.")
  var uncalled = false

  @Flag(
    help:
      "Write one JSON document, schema nopscope.report/1 (report-by/1, report-diff/1, uncalled/1).")
  var json = false

  func validate() throws {
    if let limit, limit < 0 { throw ValidationError("--limit \(limit): expected 0 or more") }
    if json && csv { throw ValidationError("--json and --csv: expected one of them") }
    if csv && (diff != nil || uncalled) {
      throw ValidationError("--csv cannot be used with --diff or --uncalled")
    }
    if columns != nil && (diff != nil || uncalled || json) {
      throw ValidationError("--columns cannot be used with --diff, --uncalled or --json")
    }
    if !failIf.isEmpty && (diff != nil || uncalled) {
      throw ValidationError("--fail-if cannot be used with --diff or --uncalled")
    }
    if let by { try validate(by) }
    _ = try chosenColumns()
    _ = try limits()
    if diff != nil && sort != nil {
      throw ValidationError(
        "--sort cannot be used with --diff: nopscope diff has a --sort of its own")
    }
    if uncalled && (diff != nil || sort != nil) {
      throw ValidationError(
        "--uncalled cannot be used with --diff or --sort: it lists functions without any figure"
      )
    }
  }

  private func validate(_ by: ReportGrouping) throws {
    if diff != nil || uncalled || columns != nil || eachLoad || !failIf.isEmpty || function != nil {
      throw ValidationError(
        "--by cannot be used with a function, --columns, --each-load, --fail-if, --diff or --uncalled"
      )
    }
    if let sort, sort.sorted([GroupRow]()) == nil {
      throw ValidationError(
        "--by \(by.rawValue) --sort \(sort.rawValue): expected self, cpu, wait, total, calls or name"
      )
    }
  }

  /// Of two words the first is the recording. One alone that is no directory is the function, if there is
  /// a recording where it is by default.
  private func arrangement() -> (recording: RecordingArguments, function: String?) {
    func isThere(_ path: String) -> Bool {
      var status = stat()
      return stat(path, &status) == 0
    }
    let word = recording.directory
    if function != nil || word.contains("/") || isThere(word) || !isThere(defaultRecording) {
      return (recording, function)
    }
    var arranged = recording
    arranged.directory = defaultRecording
    return (arranged, word)
  }

  func run() throws {
    let (recording, function) = arrangement()
    if let function { return try show(function, of: recording) }
    let opened = try recording.open()
    let filter = try recording.filter(opened)
    if !uncalled { tellLeftOut(opened) }
    recording.tellChosen()
    if let by { return try sumUp(opened, by, filter) }
    let report = read(opened, filter, "reading \(recording.directory)")
    if let diff {
      try compare(report, of: opened, diff)
      return
    }
    if uncalled {
      let list = UncalledList(
        recording: opened, report: report, uncalled: Uncalled(of: opened, report: report))
      try list.write(limit: limit == 0 ? nil : limit, json: json)
      complainOf(report.problems, in: recording.directory)
      return
    }
    let isForPeople = !json && !csv
    let standard: ReportOrder = report.hasTimes ? .self : .calls
    let rows = limited((sort ?? standard).sorted(report.rows), isForPeople: isForPeople)
    let table = ReportTable(report, rows, columns: try chosenColumns())
    if json {
      try writeJSON(ReportDocument(report, rows), schema: "report")
    } else if csv {
      write(table.csv, to: 1)
    } else {
      let pager = Pager(isWanted: !noPager, hasHeading: table.beginsWithHeading)
      var out = PagedText(pager)
      out.add(table.text(width: outputWidth, bold: headingText))
      out.flush()
      pager.finish()
    }
    finish(report, of: opened)
    try check(report)
    if report.rows.isEmpty {
      if filter.selectsCalls {
        recording.tellNothingChosen()
      } else if report.problems.isEmpty {
        complain("\(recording.directory): no call was recorded: nopscope info says what was armed")
      }
      throw ExitCode(1)
    }
  }

  private func limits() throws -> [ReportLimit] {
    do {
      return try failIf.map { (text) throws(LimitError) in try ReportLimit(text) }
    } catch {
      throw ValidationError("--fail-if \(error.description)")
    }
  }

  private func check(_ report: Report) throws {
    var isBeyond = false
    for limit in try limits() {
      guard let lines = limit.violations(report) else {
        complain("--fail-if '\(limit.text)': no function that was called matches it")
        continue
      }
      for line in lines { complain("--fail-if '\(limit.text)': \(line)") }
      isBeyond = isBeyond || !lines.isEmpty
    }
    if isBeyond { throw ExitCode(3) }
  }

  private func show(_ wanted: String, of recording: RecordingArguments) throws {
    if json || csv || uncalled || diff != nil || by != nil {
      throw ValidationError("\(wanted): one function is shown as text only")
    }
    let rule: FilterRule
    do {
      rule = try FilterRule(wanted)
    } catch {
      throw ValidationError("\(error)")
    }
    let opened = try recording.open()
    let filter = try recording.filter(opened)
    tellLeftOut(opened)
    recording.tellChosen()
    let progress = Progress("reading \(recording.directory)")
    let report = Report(of: opened, choosing: filter, progress: progress.show)
    let rows = report.rows.filter { row in
      rule.matches(
        function: FunctionSpellings(row.function.rawName ?? row.label),
        module: ModuleSpellings(path: row.function.modulePath ?? ""))
    }
    guard !rows.isEmpty else {
      progress.finish()
      complain(
        "\(wanted): no function that was called matches it, and it is no recording; "
          + "nopscope report \(recording.directory) lists the functions")
      throw ExitCode(1)
    }
    let tree = CallTree(of: opened, choosing: filter, progress: progress.show)
    progress.finish()
    let pager = Pager(isWanted: !noPager)
    var out = PagedText(pager)
    let sums = ReportSums(report.rows)
    let most = limit ?? 10
    for row in most == 0 ? rows[...] : rows.prefix(most) {
      let detail = FunctionDetail(
        row: row, sums: sums, neighbours: Neighbours(of: row.function, in: tree))
      out.add(detail.text(width: outputWidth))
    }
    if most > 0, rows.count > most { out.add("\(rows.count - most) more: --limit 0\n") }
    out.flush()
    pager.finish()
    complainOf(report.problems, in: recording.directory)
  }

  private func chosenColumns() throws -> [ReportColumn]? {
    do {
      return try columns.map { (text) throws(ReportColumn.UnknownColumn) in
        try ReportColumn.parse(text)
      }
    } catch {
      let all = ReportColumn.allCases.map(\.rawValue).joined(separator: ", ")
      throw ValidationError("--columns '\(error.word)': expected one of \(all)")
    }
  }

  private func compare(_ report: Report, of opened: Recording, _ other: String) throws {
    var arguments = recording
    arguments.directory = other
    let old = try arguments.open()
    let before = read(old, try arguments.filter(old), "reading \(other)")
    let table = DifferenceTable((old, before), (opened, report))
    let most = shownRows(limit, isOnTerminal: outputWidth != nil && !json)
    if json {
      try writeJSON(table.document(limit: most), schema: "report-diff")
    } else {
      write(table.text(limit: most, width: outputWidth), to: 1)
    }
    complainOf(before.problems, in: other)
    finish(report, of: opened)
  }

  private func sumUp(
    _ opened: Recording, _ by: ReportGrouping, _ filter: ReadingFilter
  ) throws {
    let progress = Progress("reading \(recording.directory)")
    let report = Report(
      of: opened, by: by, choosing: filter, progress: progress.show)
    progress.finish()
    let sorted = sort?.sorted(report.groups) ?? report.groups
    let rows = limited(sorted, isForPeople: !json && !csv)
    if json {
      try writeJSON(GroupDocument(report, by, rows), schema: "report-by")
    } else {
      let table = GroupTable(report, by, rows)
      write(csv ? table.csv : table.text(width: outputWidth, bold: headingText), to: 1)
    }
    complainOf(report.problems, in: recording.directory)
    if !json && !csv {
      write(reportClosing(report, of: opened, rows: groupCount(report, by)) + "\n", to: 2)
    }
    if report.groups.isEmpty { throw ExitCode(1) }
  }

  private func read(
    _ opened: Recording, _ filter: ReadingFilter, _ what: String
  ) -> Report {
    let progress = Progress(what)
    defer { progress.finish() }
    return Report(
      of: opened, choosing: filter, eachLoad: eachLoad, progress: progress.show)
  }

  /// `isForPeople`: a terminal gets only so many, if nothing else was asked for.
  private func limited<Row>(_ rows: [Row], isForPeople: Bool = true) -> [Row] {
    let most = shownRows(limit, isOnTerminal: isForPeople && outputWidth != nil)
    return most == 0 ? rows : Array(rows.prefix(most))
  }

  private func finish(_ report: Report, of opened: Recording) {
    complainOf(report.problems, in: recording.directory)
    if !json && !csv { write(reportClosing(report, of: opened) + "\n", to: 2) }
  }
}
