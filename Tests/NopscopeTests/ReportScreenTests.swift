// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

/// `report` on terminals of several widths, and its forms for programs.
@Suite struct ReportScreenTests {
  /// Main calls 30 functions of two libraries; one of them has been loaded twice. A second thread is in
  /// `wait_for` when the process is killed.
  private func recording() throws -> String {
    let base: UInt64 = 1_000_000
    let long = "_ZN3zoo47a_function_whose_name_is_longer_than_a_terminalEv"
    let names = ["main", "wait_for"] + (0..<28).map { "f\($0)" }
    let loads = [1, 2].map { generation in
      var load = SyntheticModule(
        "/lib/liblong.so", buildID: "01", firstFunction: UInt32(29 + generation), functions: [long])
      load.generation = generation
      return load
    }
    let modules = [SyntheticModule("/bin/app", functions: names)] + loads
    let main = SyntheticChunk { encoder in
      encoder.entry(0, at: base)
      for index in 0..<28 {
        let start = base + 1000 * (UInt64(index) + 1)
        encoder.call(UInt32(2 + index), from: start, to: start + 10 * (UInt64(index) + 1))
      }
      encoder.call(30, from: base + 50_000, to: base + 57_500)
      encoder.call(31, from: base + 60_000, to: base + 67_500)
      encoder.exit(at: base + 100_000)
    }
    var second = SyntheticChunk { $0.entry(1, at: base + 1000) }
    second.thread = 4712
    second.name = "worker"
    second.serial = 1
    var process = SyntheticProcess(modules: modules, chunks: [main, second])
    process.endTime = base + 2_000_000
    process.flags = 0
    return try SyntheticRecording(processes: [process]).write()
  }

  private func screen(_ arguments: String, columns: Int) throws -> [String] {
    let result = try runNopscopeOnTerminal(arguments, columns: columns)
    #expect(result.ending == .exit(0))
    return result.output.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
  }

  private func plain(_ lines: [String]) -> [String] {
    lines.map { $0.replacing("\u{1b}[1m", with: "").replacing("\u{1b}[0m", with: "") }
  }

  @Test(
    "columns go, then names are cut, until the table fits",
    .enabled(if: Tools.hasScript, "script (util-linux) is not here"), arguments: [60, 80, 120, 200])
  func widths(columns: Int) throws {
    let lines = plain(try screen("report --no-pager \(try recording())", columns: columns))
    let expected: [Int: [String]] = [
      60: [
        "STILL OPEN  THREAD         CALLS, INNERMOST FIRST",
        "  1.999 ms  worker (4712)  wait_for",
        "",
        "SELF%       SELF  CALLS  FUNCTION",
        "95.2%   1.999 ms      1  wait_for",
        " 3.9%  80.940 us      1  main",
        " 0.7%  15.000 us      2  zoo::a_function_whose_name_is_long…",
      ],
      80: [
        "STILL OPEN  THREAD         CALLS, INNERMOST FIRST",
        "  1.999 ms  worker (4712)  wait_for",
        "",
        "SELF%       SELF       TOTAL  CALLS  FUNCTION",
        "95.2%   1.999 ms    1.999 ms      1  wait_for",
        " 3.9%  80.940 us  100.000 us      1  main",
        " 0.7%  15.000 us   15.000 us      2  zoo::a_function_whose_name_is_longer_than_…",
      ],
    ]
    if let expected = expected[columns] { #expect(Array(lines.prefix(expected.count)) == expected) }
    let heads = [
      120: "SELF%  SELF  TOTAL  CALLS  AVG  P99  FUNCTION  MODULE",
      200: "SELF%  SELF  TOTAL  CALLS  AVG  P99  MAX  FUNCTION  MODULE",
    ]
    if let head = heads[columns] {
      #expect(lines[3].split(separator: " ").joined(separator: "  ") == head)
      #expect(lines.contains { $0.hasSuffix("liblong.so (2 loads)") })
    }
    for line in lines.dropLast(2) { #expect(line.count <= columns, "\(line)") }
    let whole = "zoo::a_function_whose_name_is_longer_than_a_terminal"
    #expect(lines.contains { $0.contains(whole) } == (columns >= 200))
    #expect(lines.contains("6 more: --limit 0"))
  }

  @Test(
    "on a terminal the heading is bold, and --limit 0 shows every function",
    .enabled(if: Tools.hasScript, "script (util-linux) is not here"))
  func terminal() throws {
    let path = try recording()
    let lines = try screen("report --limit 0 --no-pager \(path)", columns: 80)
    #expect(lines[3] == "\u{1b}[1mSELF%       SELF       TOTAL  CALLS  FUNCTION\u{1b}[0m")
    #expect(lines.filter { $0.contains("%") }.count == 1 + 31)
    #expect(!lines.contains { $0.contains("more: --limit") })
  }

  @Test("elsewhere nothing is cut or left out")
  func piped() throws {
    let result = try runNopscope(["report", try recording()])
    let lines = result.output.split(separator: "\n")
    #expect(lines.count == 2 + 1 + 31)
    #expect(
      lines.contains { $0.contains("zoo::a_function_whose_name_is_longer_than_a_terminal  ") })
  }

  @Test("--csv has raw numbers and whole paths; --columns chooses, for text too")
  func columns() throws {
    let path = try recording()
    let csv = try runNopscope(["report", "--csv", "--limit", "2", path])
    #expect(
      csv.output == """
        self%,self,total,calls,avg,p99,max,function,module,source
        95.2,1999000,1999000,1,1999000.0,1999000,1999000,wait_for,/bin/app,
        3.9,80940,100000,1,100000.0,100000,100000,main,/bin/app,

        """)
    let some = try runNopscope(
      [
        "report", "--limit", "1", "--sort", "calls", "--columns",
        "loads,calls%,calls,min,p50,function",
        path,
      ])
    #expect(
      some.output.hasSuffix(
        """
        LOADS  CALLS%  CALLS       MIN       P50  FUNCTION
            2    6.3%      2  7.500 us  7.500 us  zoo::a_function_whose_name_is_longer_than_a_terminal

        """))
    let wrong = try runNopscope(["report", "--columns", "calls,sefl", path])
    #expect(wrong.ending == .exit(64))
    #expect(
      wrong.standardError.contains(
        "--columns 'sefl': expected one of self%, self, cpu, wait, total"))
  }

  @Test("--each-load tells the loads of a file apart")
  func loads() throws {
    let path = try recording()
    func rows(_ arguments: [String]) throws -> [[String: Any]] {
      let all = try jsonObject(
        try runNopscope(["report", "--json", path] + arguments).standardOutput)["functions"]
      return try #require(all as? [[String: Any]]).filter {
        ($0["module"] as? String)?.hasSuffix("liblong.so") == true
      }
    }
    let merged = try rows([])
    #expect(merged.count == 1)
    #expect(merged[0]["loads"] as? Int == 2 && merged[0]["calls"] as? Int == 2)
    let each = try rows(["--each-load"])
    #expect(Set(each.compactMap { $0["generation"] as? Int }) == [1, 2])
    #expect(each.allSatisfy { $0["calls"] as? Int == 1 && $0["loads"] as? Int == 1 })
  }

  @Test("--names chooses how functions are called")
  func names() throws {
    let path = try recording()
    let linked = "_ZN3zoo47a_function_whose_name_is_longer_than_a_terminalEv"
    let full = "zoo::a_function_whose_name_is_longer_than_a_terminal()"
    for (style, name) in [("linked", linked), ("full", full), ("short", String(full.dropLast(2)))] {
      let text = try runNopscope(["report", "--names", style, "--columns", "function", path]).output
      #expect(text.split(separator: "\n").contains { $0 == name }, "\(style)")
    }
  }

  @Test("report FUNCTION shows how long its calls took, who calls it and whom it calls")
  func oneFunction() throws {
    let base: UInt64 = 1_000_000
    let chunk = SyntheticChunk { encoder in
      encoder.entry(0, at: base)
      for index in 0..<9 as Range<UInt64> {
        encoder.entry(1, at: base + 1000 * (index + 1))
        encoder.call(2, from: base + 1000 * (index + 1) + 10, to: base + 1000 * (index + 1) + 40)
        encoder.exit(at: base + 1000 * (index + 1) + 100)
      }
      encoder.call(1, from: base + 50_000, to: base + 51_000)
      encoder.exit(at: base + 100_000)
    }
    let module = SyntheticModule("/bin/x", functions: ["main", "work", "leaf"])
    let folder = try TemporaryFolder.shared.fresh("one")
    try SyntheticRecording(
      processes: [SyntheticProcess(modules: [module], chunks: [chunk])]
    ).write(to: folder + "/nopscope.data")
    let expected = """
      work  /bin/x
      10 calls, self 1.630 us (1.6%), total 1.900 us, average 190 ns

         MIN     P50     P90       P99     P99.9    P99.99       MAX
      100 ns  100 ns  100 ns  1.000 us  1.000 us  1.000 us  1.000 us

        FROM        TO  CALLS
       64 ns    128 ns      9  ████████████████████████████████████████
      128 ns    256 ns      0
      256 ns    512 ns      0
      512 ns  1.024 us      1  ████▌

         TOTAL  CALLS  CALLER
      1.900 us     10  main

       TOTAL  CALLS  CALLEE
      270 ns      9  leaf


      """
    let named = try runNopscope(["report", folder + "/nopscope.data", "w?rk"])
    #expect(named.ending == .exit(0))
    #expect(named.output == expected)
    let inPlace = try runChild(
      "/bin/sh", ["-c", "cd '\(folder)' && '\(Tools.nopscope)' report work"])
    #expect(inPlace.output == expected)
    let outermost = try runNopscope(["report", folder + "/nopscope.data", "main"]).output
    #expect(outermost.contains("(a thread's first function)"))
    let none = try runNopscope(["report", folder + "/nopscope.data", "nobody"])
    #expect(none.ending == .exit(1))
    #expect(none.standardError.contains("nobody: no function that was called matches it"))
    let json = try runNopscope(["report", "--json", folder + "/nopscope.data", "work"])
    #expect(json.ending == .exit(64))
  }

  @Test("a call that never returned lasts until its process was killed")
  func killed() throws {
    let built = try Fixture(
      .gcc, ["-O1", "-pg"], as: .positionIndependentExecutable,
      source: """
        #include <sys/time.h>
        #include <unistd.h>
        __attribute__((noinline)) void stuck(void) { for (;;) pause(); }
        int main(void) {
          struct itimerval timer = {{0, 0}, {0, 200000}};
          setitimer(ITIMER_REAL, &timer, 0);
          stuck();
        }
        """
    ).build()
    let folder = try TemporaryFolder.shared.fresh("killed")
    try ProgramFile.copy(built, to: folder + "/program")
    let result = try runNopscope(["record", "-o", folder + "/data", folder + "/program"])
    #expect(result.ending == .signal(14))
    let report = try jsonObject(
      try runNopscope(["report", "--json", folder + "/data"]).standardOutput)
    let open = try #require(report["open"] as? [[String: Any]])
    let calls = try #require(open.first?["calls"] as? [[String: Any]])
    #expect(calls.compactMap { $0["function"] as? String } == ["stuck", "main"])
    let time = calls.first?["nanoseconds"] as? Int ?? 0
    #expect(time >= 190_000_000 && time < 60_000_000_000, "\(time)")
    let text = try runNopscope(["report", folder + "/data"]).output
    #expect(text.hasPrefix("STILL OPEN") && text.contains("stuck < main"))
  }
}
