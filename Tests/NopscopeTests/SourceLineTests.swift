// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// Source lines of real programs, from their DWARF to the report.
@Suite struct SourceLineTests {
  /// The lines of names and braces differ, and `never` is not called.
  static let source = """
    __attribute__((noinline))
    int
    triple(int a)
    {
      return 3 * a;
    }
    __attribute__((noinline)) int never(int a) {
      return a + 1;
    }
    int main(int count, char **words) {
      (void)words;
      return (count > 9 ? never(count) : triple(count)) == 4;
    }
    """

  private func program(
    _ compiler: Fixture.Compiler, _ flags: [String], source: String = Self.source
  ) throws -> String {
    try Fixture(
      compiler, ["-O1", "-pg"] + flags, as: .positionIndependentExecutable, source: source
    ).build()
  }

  /// Records a program: the recording's path, and what nopscope said.
  private func record(
    _ program: String, _ arguments: [String] = []
  ) throws -> (path: String, said: String) {
    let path = try TemporaryFolder.shared.fresh("lines") + "/data"
    let result = try runNopscope(
      ["record", "--quiet", "-o", path] + arguments + ["--", program],
      environment: ["XDG_CACHE_HOME": try TemporaryFolder.shared.fresh("xdg")])
    #expect(result.ending == .exit(0))
    return (path, result.standardError)
  }

  /// Of each function `FILE:LINE` without folders; nil: not known.
  private func sources(_ path: String) throws -> [String: String?] {
    let result = try runNopscope(["report", "--json", path])
    #expect(result.ending == .exit(0) && result.standardError == "")
    let functions = try #require(
      try jsonObject(result.standardOutput)["functions"] as? [[String: Any]])
    return functions.reduce(into: [:]) { sources, function in
      let file = (function["sourceFile"] as? String)?.split(separator: "/").last
      let line = function["sourceLine"] as? Int
      sources[function["function"] as? String ?? "?"] =
        file.flatMap { file in line.map { "\(file):\($0)" } } as String?
    }
  }

  static let compilations: [(Fixture.Compiler, [String])] = [
    (.gcc, ["-gdwarf-4"]), (.gcc, ["-gdwarf-5"]), (.gcc, ["-g", "-gz"]), (.gcc, ["-g1"]),
    (.clang, ["-gdwarf-4"]), (.clang, ["-gdwarf-5"]),
    (.clang, ["-g", "-gz"]),
  ]

  @Test("a function is where its name stands in its definition", arguments: compilations)
  func lines(compiler: Fixture.Compiler, flags: [String]) throws {
    let (path, said) = try record(try program(compiler, flags))
    #expect(said == "")
    #expect(try sources(path) == ["main": "a.c:10", "triple": "a.c:3"])
  }

  @Test("the compiler's .dwo file has the lines of -gsplit-dwarf", arguments: ["gcc", "clang"])
  func splitDWARF(compiler: String) throws {
    let folder = try TemporaryFolder.shared.fresh("split")
    try Self.source.write(toFile: folder + "/a.c", atomically: false, encoding: .utf8)
    try Tools.run(
      try #require(Tools.findBesideSwift(compiler)),
      ["-O1", "-pg", "-g", "-gsplit-dwarf", "-o", folder + "/program", folder + "/a.c"])
    let found = try sources(try record(folder + "/program").path)
    #expect(found == ["main": "a.c:10", "triple": "a.c:3"])
  }

  @Test("a path that the compiler was given is joined to its folder", arguments: ["gcc", "clang"])
  func relativePath(compiler: String) throws {
    let folder = try TemporaryFolder.shared.fresh("relative")
    try Self.source.write(toFile: folder + "/a.c", atomically: false, encoding: .utf8)
    let tool = try #require(Tools.findBesideSwift(compiler))
    for name in ["a.c", "./a.c"] {
      try Tools.run(
        "/bin/sh", ["-c", "cd '\(folder)' && '\(tool)' -O1 -pg -gdwarf-5 -o program \(name)"])
      let (path, _) = try record(folder + "/program")
      #expect(try sources(path) == ["main": "a.c:10", "triple": "a.c:3"])
      let csv = try runNopscope(["report", "--csv", "--columns", "source", path]).output
      #expect(csv.contains("\n\(folder)/a.c:10\n"), "\(csv)")
    }
  }

  @Test("tables of lines alone give the line of the first instruction")
  func lineTables() throws {
    let (path, _) = try record(try program(.clang, ["-gline-tables-only"]))
    let found = try sources(path)
    #expect(found["main"] == "a.c:10" && found["triple"] == "a.c:4")
  }

  @Test("without DWARF there is no line, no file and no word of it")
  func noDWARF() throws {
    let (path, said) = try record(try program(.gcc, ["-g0"]))
    #expect(said == "")
    #expect(try sources(path) == ["main": nil, "triple": nil])
    let names = try FileManager.default.contentsOfDirectory(atPath: path + "/symbols")
    #expect(!names.contains { $0.hasSuffix(".lines") })
    #expect(!(try runNopscope(["report", path]).output.contains("SOURCE")))
  }

  @Test(
    "only functions that were called have a line in the recording, whatever the tracer",
    arguments: ["function_graph", "function", "callgraph", "profile", "hits"])
  func onlyCalled(tracer: String) throws {
    let (path, _) = try record(try program(.gcc, ["-g"]), ["--tracer", tracer])
    #expect(try sources(path) == ["main": "a.c:10", "triple": "a.c:3"])
    let folder = path + "/symbols"
    let name = try #require(
      try FileManager.default.contentsOfDirectory(atPath: folder).first { $0.hasSuffix(".lines") })
    let text = try String(contentsOfFile: "\(folder)/\(name)", encoding: .utf8)
    #expect(text.hasPrefix("nopscope.lines 1 2 1\n/"))
    #expect(text.split(separator: "\n").count == 4)
  }

  @Test("children and what they load have lines too")
  func children() throws {
    let source = """
      #include <sys/wait.h>
      #include <unistd.h>
      __attribute__((noinline)) int in_child(void) { asm(""); return 5; }
      int main(void) {
        int status = 0;
        if (fork() == 0) _exit(in_child());
        wait(&status);
        return WEXITSTATUS(status) != 5;
      }
      """
    let (path, _) = try record(try program(.clang, ["-g"], source: source))
    #expect(try sources(path) == ["main": "a.c:4", "in_child": "a.c:3"])
  }

  @Test("C++ methods, templates and lambdas are where they are defined")
  func cPlusPlus() throws {
    let source = """
      namespace zoo {
      struct animal { int
        legs(int n); int inline_one(int x) { return x * 3; } };
      int
      animal::legs(int n)
      { return n + 4; }
      template <class T>
      __attribute__((noinline)) T twice(T t) { return t + t; }
      }
      int main(int c, char **) {
        zoo::animal a;
        auto lambda =
          [](int x) __attribute__((noinline)) { return x + 1; };
        return a.legs(c) + a.inline_one(c) + zoo::twice(c) + lambda(c) == 0;
      }
      """
    let cases: [(Fixture.Compiler, [String])] = [(.gcc, ["-gdwarf-5"]), (.clang, ["-gdwarf-5"])]
    for (compiler, flags) in cases {
      let built = try program(compiler, ["-xc++", "-O0"] + flags, source: source)
      let found = try sources(try record(built).path)
      let lines = Set(found.values.compactMap { $0 })
      #expect(found["zoo::animal::legs"] == "a.c:5")
      #expect(found["zoo::animal::inline_one"] == "a.c:3")
      #expect(lines == ["a.c:5", "a.c:3", "a.c:8", "a.c:10", "a.c:13"], "\(compiler)")
    }
  }

  @Test("a stripped program has the lines of its debug file, if that is its own")
  func debugFile() throws {
    let stripped = try StrippedProgram(Self.source, flags: ["-O1", "-pg", "-g"])
    let file = stripped.folder + "/p.debug"
    try stripped.makeDebugFile(file)
    try stripped.addLink(to: file)
    #expect(try sources(try record(stripped.path).path) == ["main": "a.c:10", "triple": "a.c:3"])
    // The debug file of another build.
    let other = try StrippedProgram(
      Self.source + "\nint more(void) { return 1; }", flags: ["-O1", "-pg", "-g"])
    try other.makeDebugFile(file)
    let (path, _) = try record(stripped.path)
    let report = try runNopscope(["report", "--json", path])
    #expect(!report.output.contains("a.c"))
  }

  @Test("a program without a build-id that changes while it runs has no lines")
  func changed() throws {
    let source = """
      #include <sys/time.h>
      int main(int count, char **words) {
        struct timeval times[2] = {{4000000000, 0}, {4000000000, 0}};
        return count > 9 ? 0 : CHANGES ? utimes(words[0], times) : 0;
      }
      """
    for changes in [0, 1] {
      let built = try Fixture(
        .gcc, ["-O1", "-pg", "-g", "-DCHANGES=\(changes)"], link: ["-Wl,--build-id=none"],
        as: .positionIndependentExecutable, source: source
      ).build()
      let copy = try TemporaryFolder.shared.fresh("changed") + "/program"
      try ProgramFile.copy(built, to: copy)
      let (path, said) = try record(copy)
      #expect(said == "")
      #expect(try sources(path) == ["main": changes == 0 ? "a.c:2" : nil])
    }
  }

  @Test("damaged DWARF costs lines and nothing else", arguments: 1...12 as ClosedRange<UInt64>)
  func damagedDWARF(seed: UInt64) throws {
    let compiler: Fixture.Compiler = seed % 2 == 0 ? .gcc : .clang
    let whole = try program(compiler, ["-g"])
    var bytes = Array(try Data(contentsOf: URL(fileURLWithPath: whole)))
    var generator = SeededGenerator(seed: seed)
    for line in try Tools.run("readelf", ["-SW", whole]).split(separator: "\n") {
      let words = line.replacing("[ ", with: "[").split(separator: " ")
      guard words.count > 5, words[1].hasPrefix(".debug_"),
        let offset = Int(words[4], radix: 16), let size = Int(words[5], radix: 16), size > 0
      else { continue }
      for _ in 0..<3 {
        bytes[offset + Int.random(in: 0..<size, using: &generator)] =
          UInt8.random(in: 0...255, using: &generator)
      }
    }
    let damaged = try TemporaryFolder.shared.fresh("damaged") + "/program"
    try ProgramFile.write(bytes, to: damaged)
    let (path, said) = try record(damaged)
    #expect(said == "" || said.contains("libdw failed in its DWARF"), "seed \(seed): \(said)")
    let report = try runNopscope(["report", "--json", path])
    #expect(report.ending == .exit(0), "seed \(seed)")
  }

  @Test("report FUNCTION has it in its head, graph --json in its nodes, report as a column")
  func shown() throws {
    let (path, _) = try record(try program(.gcc, ["-g"]))
    let head = try runNopscope(["report", path, "triple"]).output.split(separator: "\n")[0]
    #expect(head.hasPrefix("triple  /") && head.hasSuffix("/a.c:3"))
    let graph = try runNopscope(["graph", "--json", path]).output
    #expect(graph.contains("\"sourceLine\":3") && graph.contains("/a.c\",\"sourceLine\":10"))
    let lines = try runNopscope(["report", path]).output.split(separator: "\n")
    #expect(lines[0].hasSuffix("FUNCTION  SOURCE"))
    #expect(lines.contains { $0.hasSuffix("  triple    a.c:3") })
    let chosen = try runNopscope(["report", path, "--columns", "source,function"]).output
    #expect(
      Set(chosen.split(separator: "\n")) == [
        "SOURCE  FUNCTION", "a.c:10  main", "a.c:3   triple",
      ])
    let csv = try runNopscope(["report", path, "--csv", "--columns", "function,source"]).output
    #expect(csv.hasPrefix("function,source\n") && csv.contains("/a.c:10\n"))
  }
}
