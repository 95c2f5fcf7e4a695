// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

/// `report --by`, and the column SOURCE, as they are printed.
@Suite struct ReportByTests {
  private func recording() throws -> String {
    let base: UInt64 = 1_000_000
    var program = SyntheticModule("/bin/app", buildID: "01", functions: ["main", "helper"])
    program.sources = [0: ("/src/app/main.c", 3), 1: ("/src/app/util.c", 1234)]
    var library = SyntheticModule(
      "/lib/libwork.so", buildID: "02", firstFunction: 2, functions: ["work"])
    library.generation = 2
    let main = SyntheticChunk { encoder in
      encoder.entry(0, at: base)
      encoder.call(2, from: base + 100, to: base + 400)
      encoder.call(1, from: base + 500, to: base + 700)
      encoder.exit(at: base + 1000)
    }
    let second = SyntheticChunk { $0.call(1, from: base, to: base + 50) }
      .of(thread: 4712, serial: 1, name: "wor\u{1b}ker")
    let process = SyntheticProcess(modules: [program, library], chunks: [main, second])
    return try SyntheticRecording(processes: [process]).write()
  }

  static let tables: [(by: String, table: String, closing: String)] = [
    (
      "module",
      """
      SELF%    SELF     TOTAL  CALLS  MODULE
      71.4%  750 ns  1.050 us      3  app
      28.6%  300 ns    300 ns      1  libwork.so

      """, "4 calls of 2 modules in 2 threads; 0 events lost\n"
    ),
    (
      "file",
      """
      SELF%    SELF     TOTAL  CALLS  FILE
      47.6%  500 ns  1.000 us      1  main.c
      28.6%  300 ns    300 ns      1  (not known)
      23.8%  250 ns    250 ns      2  util.c

      """, "4 calls of 3 files in 2 threads; 0 events lost\n"
    ),
    (
      "thread",
      """
      SELF%      SELF     TOTAL  CALLS   TID   PID  THREAD
      95.2%  1.000 us  1.000 us      3  4711  4711  program
       4.8%     50 ns     50 ns      1  4712  4711  wor\\x1bker

      """, "4 calls of 2 threads in 2 threads; 0 events lost\n"
    ),
    (
      "process",
      """
       SELF%      SELF     TOTAL  CALLS   PID  PROGRAM
      100.0%  1.050 us  1.050 us      4  4711  program

      """, "4 calls of 1 process in 2 threads; 0 events lost\n"
    ),
  ]

  @Test("a row for each module, file, thread or process", arguments: tables)
  func table(by: String, table: String, closing: String) throws {
    let result = try runNopscope(["report", try recording(), "--by", by])
    #expect(result.ending == .exit(0))
    #expect(result.output == table)
    #expect(result.standardError == closing)
  }

  @Test("--csv and --json have whole paths and nanoseconds")
  func programs() throws {
    let path = try recording()
    #expect(
      try runNopscope(["report", path, "--by", "file", "--csv"]).output == """
        self%,self,total,calls,pid,tid,file
        47.6,500,1000,1,,,/src/app/main.c
        28.6,300,300,1,,,
        23.8,250,250,2,,,/src/app/util.c

        """)
    #expect(
      try runNopscope(["report", path, "--by", "process", "--json"]).output == """
        {"by":"process","corrupted":false,"groups":[{"arguments":null,"calls":4,\
        "name":"/usr/bin/program","process":4711,"selfNanoseconds":1050,"thread":null,\
        "totalNanoseconds":1050,"waitNanoseconds":null}],\
        "lostEvents":0,"schema":"nopscope.report-by/1","threads":2}

        """)
    let sorted = try runNopscope(
      ["report", path, "--by", "module", "--sort", "name", "--limit", "1", "--csv"]
    ).output
    #expect(sorted.hasSuffix("calls,pid,tid,module\n71.4,750,1050,3,,,/bin/app\n"))
  }

  @Test(
    "CPU and WAIT are shown where a thread was off the CPU, in every form, and can be sorted by")
  func waits() throws {
    let base: UInt64 = 1_000_000
    let main = SyntheticChunk { encoder in
      encoder.entry(0, at: base)
      encoder.call(1, from: base + 100, to: base + 700)
      encoder.exit(at: base + 1000)
    }
    let second = SyntheticChunk { $0.call(1, from: base, to: base + 800) }
      .of(thread: 4712, serial: 1, name: "busy")
    let module = SyntheticModule("/bin/app", functions: ["main", "wait"])
    var recording = SyntheticRecording(
      processes: [SyntheticProcess(modules: [module], chunks: [main, second])])
    recording.switches = SyntheticSwitch.away(4711, from: base + 200, to: base + 600)
    recording.switches += SyntheticSwitch.away(4711, from: base + 800, to: base + 825)
    let path = try recording.write()
    #expect(
      try runNopscope(["report", path, "--by", "thread"]).output == """
        SELF%      SELF     CPU    WAIT     TOTAL  CALLS   TID   PID  THREAD
        55.6%  1.000 us  575 ns  425 ns  1.000 us      2  4711  4711  program
        44.4%    800 ns  800 ns    0 ns    800 ns      1  4712  4711  busy

        """)
    #expect(
      try runNopscope(["report", path, "--by", "thread", "--csv"]).output == """
        self%,self,cpu,wait,total,calls,pid,tid,thread
        55.6,1000,575,425,1000,2,4711,4711,program
        44.4,800,800,0,800,1,4711,4712,busy

        """)
    let document = try jsonObject(
      try runNopscope(["report", path, "--by", "thread", "--json"]).standardOutput)
    let groups = try #require(document["groups"] as? [[String: Any]])
    #expect(groups.map { $0["waitNanoseconds"] as? Int } == [425, 0])
    for (order, first) in [("cpu", "busy"), ("wait", "program")] {
      let sorted = try runNopscope(["report", path, "--by", "thread", "--sort", order, "--csv"])
      #expect(sorted.output.split(separator: "\n")[1].hasSuffix(",\(first)"))
    }
  }

  static let refusals = [
    ["--by", "function"], ["--by", "module", "--sort", "p99"], ["--by", "file", "--uncalled"],
    ["--by", "file", "--columns", "self"], ["--by", "file", "--each-load"],
    ["--by", "thread", "--fail-if", "*.self>1"], ["--by", "thread", "--diff", "x"],
  ]

  @Test("what makes no sense together is refused", arguments: refusals)
  func refused(arguments: [String]) throws {
    let result = try runNopscope(["report", try recording()] + arguments)
    #expect(result.ending == .exit(64))
    #expect(result.standardError.contains("--by"))
  }

  @Test(
    "SOURCE goes first where a terminal is narrow; rows never are too wide",
    .enabled(if: Tools.hasScript, "script (util-linux) is not here"), arguments: [60, 80, 120, 200])
  func widths(columns: Int) throws {
    let path = try recording()
    let report = try runNopscopeOnTerminal("report --no-pager '\(path)'", columns: columns).output
    let lines = report.split(separator: "\n")
    #expect(lines[0].contains("SOURCE") == (columns >= 120))
    #expect(report.contains("util.c:1234") == (columns >= 120))
    for by in ["module", "thread", "process", "file"] {
      let table = try runNopscopeOnTerminal("report --by \(by) '\(path)'", columns: columns).output
      for line in table.replacing("\u{1b}[1m", with: "").replacing("\u{1b}[0m", with: "")
        .split(separator: "\n").dropLast()
      { #expect(line.count <= columns, "\(line)") }
    }
  }
}
