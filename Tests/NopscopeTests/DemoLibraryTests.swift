// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// `nopscope demo --library`: both designs on a library of one's own.
@Suite(.serialized) struct DemoLibraryTests {
  /// Functions that call each other, and a workload whose result is known.
  static let source = """
    #define KEEP __attribute__((noinline, noclone))
    KEEP static long square(long n) { return n * n; }
    KEEP long sum(long n) { return n < 1 ? 0 : square(n) + sum(n - 1); }
    KEEP double half(double x) { return x / 2; }
    long workload(void) { return sum(100) + (long)half(84); }
    """
  static let result = 338_350 + 42

  struct Row: Sendable, CustomStringConvertible {
    var fixture: Fixture
    var form: String
    /// Whether the 2.6.27 engine handles the form.
    var isRecorded: Bool
    var description: String { fixture.description }

    init(_ compiler: Fixture.Compiler, _ compile: [String], _ form: String, isRecorded: Bool) {
      fixture = Fixture(compiler, compile, source: DemoLibraryTests.source)
      self.form = form
      self.isRecorded = isRecorded
    }
  }

  static let rows = [
    Row(.clang, ["-O2", "-pg"], "e8", isRecorded: true),
    Row(.gcc, ["-O2", "-pg", "-mno-direct-extern-access"], "ff15", isRecorded: false),
    Row(.gcc, ["-O2", "-pg"], "ff15", isRecorded: false),
    Row(.gcc, ["-O2", "-pg", "-mfentry"], "ff15", isRecorded: false),
    Row(.clang, ["-O2", "-pg", "-mfentry"], "e8", isRecorded: false),
    Row(.gcc, ["-O2", "-fpatchable-function-entry=5"], "nop1x5", isRecorded: false),
    Row(.clang, ["-O2", "-fpatchable-function-entry=5"], "nop5", isRecorded: false),
  ]

  @Test("sites are nopped, armed, restored and audited; the results stay", arguments: rows)
  func play(row: Row) throws {
    let path = try row.fixture.build()
    let result = try runNopscope(["demo", "--library", path, "--call", "workload", "--json"])
    #expect(result.ending == .exit(0), "\(result.output) \(result.standardError)")
    let document = try jsonObject(result.standardOutput)
    #expect(document["schema"] as? String == "nopscope.demo/1")
    let scene = try #require((document["scenes"] as? [[String: Any]])?.first)
    #expect(scene["name"] as? String == "library")
    #expect(scene["held"] as? Bool == true)
    #expect(scene["result"] as? Int == Self.result)
    #expect(scene["sites"] as? Int == 4)
    #expect(scene["armed"] as? Int == 4)
    #expect(scene["counted"] as? Int ?? 0 >= 4)
    #expect(scene["recorded"] as? Int == (row.isRecorded ? 4 : 0))
    #expect(scene["converted"] as? Int == (row.isRecorded ? 4 : 0))
    #expect(scene["bytesAudited"] as? Int ?? 0 > 0)
  }

  @Test("as text it names the forms, what was skipped, and keeps to 80 columns", arguments: rows)
  func text(row: Row) throws {
    let result = try runNopscope(
      ["demo", "--library", row.fixture.build(), "--call", "workload"])
    #expect(result.ending == .exit(0))
    #expect(result.output.contains("4 call sites (4 \(row.form)), 0 skipped"))
    #expect(result.output.contains("returns \(Self.result) "))
    let words = result.output.split { $0.isWhitespace }.joined(separator: " ")
    #expect(words.contains("0 places unexplained"))
    for line in result.output.split(separator: "\n") { #expect(line.count <= 80, "\(line)") }
  }

  @Test("sites of another form than e8 are skipped by 2.6.27, and said to be")
  func skipped() throws {
    let path = try Fixture(.gcc, ["-O2", "-pg"], source: Self.source).build()
    let result = try runNopscope(["demo", "--library", path, "--call", "workload"])
    #expect(result.output.contains("0 sites recorded"))
    let words = result.output.split { $0.isWhitespace }.joined(separator: " ")
    #expect(words.contains("which that design does not handle: skipped"))
  }

  @Test("a long file name and a symbol with control characters do not break the screen")
  func names() throws {
    let name = String(repeating: "l", count: 200) + ".so"
    let path = try TemporaryFolder.shared.fresh("long") + "/" + name
    try ProgramFile.copy(Fixture(.clang, ["-O2", "-pg"], source: Self.source).build(), to: path)
    let result = try runNopscope(["demo", "--library", path, "--call", "workload"])
    #expect(result.ending == .exit(0))
    for line in result.output.split(separator: "\n") { #expect(line.count <= 80, "\(line)") }
    let missing = try runNopscope(["demo", "--library", path, "--call", "a\u{1b}[31mb"])
    #expect(missing.ending == .exit(1))
    #expect(!missing.standardError.contains("\u{1b}"))
  }

  @Test("what cannot be played is one clear line, exit status 1, and nothing on stdout")
  func refused() throws {
    let pg = ["-O2", "-pg"]
    let good = try Fixture(.clang, pg, source: Self.source).build()
    let cases: [(path: String, symbol: String, words: String)] = [
      ("/no/such/lib.so", "workload", "/no/such/lib.so: cannot open: No such file or directory"),
      ("/dev/null", "workload", "/dev/null: "),
      (good, "no_such_function", "exports no symbol no_such_function"),
      (
        try Fixture(.clang, ["-O2"], source: Self.source).build(), "workload",
        "no call sites; build it with -pg"
      ),
      (
        try Fixture(.clang, pg, link: ["-Wl,--build-id=none"], source: Self.source).build(),
        "workload", "has no build-id; link it with -Wl,--build-id"
      ),
    ]
    for (path, symbol, words) in cases {
      let result = try runNopscope(["demo", "--library", path, "--call", symbol])
      #expect(result.ending == .exit(1), "\(words)")
      #expect(result.output == "")
      #expect(result.standardError.hasPrefix("nopscope: "))
      #expect(result.standardError.contains(words), "\(result.standardError)")
      #expect(result.standardError.split(separator: "\n").count == 1)
    }
  }
}
