// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// Where names come from, and whose they are, as a user sees it.
@Suite struct NameCommandTests {
  private static let helper = """
    __attribute__((noinline)) static int inner_helper(int x) { __asm__ volatile(""); return x + 1; }
    __attribute__((noinline)) int outer_api(int x) { return inner_helper(x) * 2; }
    int main(void) {
      int s = 0;
      for (int i = 0; i < 5; i++) s += outer_api(i);
      return s != 30;
    }
    """

  /// Calls by name, of a recording of `program`, and what `record` said.
  private func recorded(
    _ program: String, cache: String
  ) throws -> (calls: [String: Int], message: String) {
    let data = try TemporaryFolder.shared.fresh("names") + "/data"
    let result = try runNopscope(
      ["record", "-o", data, program], environment: ["XDG_CACHE_HOME": cache])
    #expect(result.ending == .exit(0))
    var calls: [String: Int] = [:]
    for function in try functions(data) {
      calls[function["function"] as? String ?? "?", default: 0] += function["calls"] as? Int ?? 0
    }
    return (calls, result.standardError)
  }

  private func functions(_ data: String) throws -> [[String: Any]] {
    let document = try jsonObject(try runNopscope(["report", "--json", data]).standardOutput)
    return try #require(document["functions"] as? [[String: Any]])
  }

  private static let named = ["inner_helper": 5, "outer_api": 5, "main": 1]

  @Test("a stripped program's functions have the names of its debug file, from when it is there on")
  func debugLink() throws {
    let program = try StrippedProgram(Self.helper)
    let cache = try TemporaryFolder.shared.fresh("cache")
    let file = program.folder + "/p.debug"
    try program.makeDebugFile(file)
    try program.addLink(to: file)
    try FileManager.default.moveItem(atPath: file, toPath: file + ".away")
    #expect(try recorded(program.path, cache: cache).calls == ["?": 11])
    try FileManager.default.moveItem(atPath: file + ".away", toPath: file)
    #expect(try recorded(program.path, cache: cache).calls == Self.named)
    #expect(try recorded(program.path, cache: cache).calls == Self.named)
    // A file that is another is refused, and `record` says so.
    try Data("other".utf8).write(to: URL(fileURLWithPath: file))
    for _ in 0..<2 {
      let (calls, message) = try recorded(program.path, cache: cache)
      #expect(calls == ["?": 11])
      #expect(
        message.contains("no names from \(file): it is not the file that .gnu_debuglink means"))
    }
  }

  @Test("MiniDebugInfo names them too; damaged, it is one line")
  func miniDebugInfo() throws {
    let program = try StrippedProgram(Self.helper)
    let cache = try TemporaryFolder.shared.fresh("cache")
    let data = try program.miniDebugInfo()
    try program.addDebugData(data)
    #expect(try recorded(program.path, cache: cache).calls == Self.named)
    let damaged = try StrippedProgram(Self.helper)
    try damaged.addDebugData(data.prefix(data.count - 20))
    let (calls, message) = try recorded(damaged.path, cache: cache)
    #expect(calls == ["?": 11])
    #expect(message.contains("no names from .gnu_debugdata of \(damaged.path): it is no whole xz"))
    let sites = try runNopscope(["sites", damaged.path])
    #expect(sites.ending == .exit(0))
    #expect(sites.standardError.contains("no names from .gnu_debugdata of \(damaged.path)"))
  }

  @Test("doctor says where the names come from, as text and as JSON")
  func doctor() throws {
    let program = try StrippedProgram(Self.helper)
    func check(_ path: String, _ names: String, problems: Int = 0) throws {
      let text = try runNopscope(["doctor", path]).output
      #expect(text.contains("note names: \(names)\n"))
      #expect(text.components(separatedBy: "no   no names from ").count == problems + 1)
      let document = try jsonObject(try runNopscope(["doctor", "--json", path]).standardOutput)
      let own = try #require((document["modules"] as? [[String: Any]])?.first)
      #expect(own["names"] as? String == names)
      #expect((own["nameProblems"] as? [String])?.count == problems)
    }
    try check(program.whole, ".symtab")
    try check(program.path, "none: install its debug symbols or do not strip it")
    let file = program.folder + "/p.debug"
    try program.makeDebugFile(file)
    try program.addLink(to: file)
    try check(program.path, file)
    try Data("other".utf8).write(to: URL(fileURLWithPath: file))
    try check(program.path, "none: install its debug symbols or do not strip it", problems: 1)
  }

  @Test("a function without a name has its offset in JSON, of the report and of the graph")
  func offsets() throws {
    let program = try StrippedProgram(Self.helper)
    let data = try TemporaryFolder.shared.fresh("names") + "/data"
    _ = try runNopscope(
      ["record", "-o", data, program.path], environment: ["XDG_CACHE_HOME": program.folder])
    let sites = try jsonObject(try runNopscope(["sites", "--json", program.path]).standardOutput)
    let offsets = try #require(sites["sites"] as? [[String: Any]]).compactMap {
      $0["offset"] as? Int
    }
    let found = try functions(data)
    #expect(found.allSatisfy { $0["function"] is NSNull })
    #expect(Set(found.compactMap { $0["offset"] as? Int }) == Set(offsets))
    let graph = try jsonObject(try runNopscope(["graph", "--json", data]).standardOutput)
    let root = try #require(graph["tree"] as? [String: Any])
    #expect(root["offset"] is NSNull)
    let main = try #require((root["children"] as? [[String: Any]])?.first)
    #expect(offsets.contains(main["offset"] as? Int ?? 0))
  }

  /// Two programs with functions of the same names: the first runs the second.
  private static let twin = """
    #include <sys/wait.h>
    #include <unistd.h>
    __attribute__((noinline)) void work(void) { __asm__ volatile(""); }
    __attribute__((noinline)) void never(void) { __asm__ volatile(""); }
    int main(int count, char **words) {
      work();
      if (count > 9) never();
      if (count > 1) {
        if (fork() == 0) { execv(words[1], words + 1); _exit(127); }
        wait(0);
      }
      return 0;
    }
    """

  private func twins() throws -> String {
    let folder = try TemporaryFolder.shared.fresh("twins")
    for (name, flags) in [("first", ["-O1", "-pg"]), ("second", ["-O2", "-pg"])] {
      let built = try Fixture(
        .gcc, flags, as: .positionIndependentExecutable, source: Self.twin
      ).build()
      try ProgramFile.copy(built, to: "\(folder)/\(name)")
    }
    let result = try runNopscope(
      ["record", "-o", folder + "/data", "--", folder + "/first", folder + "/second"],
      environment: ["XDG_CACHE_HOME": folder])
    #expect(result.ending == .exit(0))
    return folder + "/data"
  }

  /// The last columns of a table, without its head.
  private func labels(_ text: String) -> [String] {
    text.split(separator: "\n").dropFirst().map { line in
      let mark = line.range(of: "  ", options: .backwards)
      return String(line[(mark?.upperBound ?? line.startIndex)...])
    }.sorted()
  }

  @Test("functions of one name in two modules are told apart in every text")
  func equalNames() throws {
    let data = try twins()
    let expected = ["main [first]", "main [second]", "work [first]", "work [second]"]
    #expect(
      labels(try runNopscope(["report", "--columns", "calls,function", data]).output) == expected)
    #expect(labels(try runNopscope(["graph", data]).output) == expected)
    #expect(labels(try runNopscope(["report", "--diff", data, data]).output) == expected)
    // Which of two is shown is said, however few are shown.
    for arguments in [["report", "--columns", "calls,function"], ["report", "--diff", data]] {
      let one = labels(try runNopscope(arguments + ["--limit", "1", data]).output)
      #expect(one.count == 1 && expected.contains(one[0]))
    }
    #expect(
      try runNopscope(["report", "--uncalled", data]).output
        == "MODULE  FUNCTION\nfirst   never\nsecond  never\n")
  }

  @Test("modules of one file name are told apart by their folders")
  func equalFiles() throws {
    let modules = ["/old/libx.so", "/new/libx.so"].enumerated().map { index, path in
      var module = SyntheticModule(path, functions: ["work", "only\(index)", "never"])
      module.buildID = "0\(index)"
      module.armed = 3
      module.plan = "3a"
      return module
    }
    let processes = modules.enumerated().map { index, module in
      var process = SyntheticProcess(
        modules: [module],
        chunks: [
          SyntheticChunk { encoder in
            encoder.call(0, from: 1_000_000, to: 1_000_100)
            encoder.call(1, from: 1_000_200, to: 1_000_300)
          }
        ])
      process.pid = 4711 + Int32(index)
      return process
    }
    let data = try SyntheticRecording(processes: processes).write()
    let expected = ["only0", "only1", "work [new/libx.so]", "work [old/libx.so]"]
    #expect(
      labels(try runNopscope(["report", "--columns", "calls,function", data]).output) == expected)
    #expect(labels(try runNopscope(["graph", data]).output) == expected)
    #expect(
      try runNopscope(["report", "--uncalled", data]).output
        == "MODULE       FUNCTION\nnew/libx.so  never\nold/libx.so  never\n")
  }
}
