// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// `nopscope record`, as a user runs it.
@Suite struct RecordCommandTests {
  static let program = Fixture(.gcc, ["-O2", "-pg"], as: .positionIndependentExecutable)

  /// A path for a recording that is not there yet.
  private func output() throws -> String { try TemporaryFolder.shared.fresh("record") + "/data" }

  private func record(
    _ arguments: [String], environment: [String: String?] = [:]
  ) throws -> ChildResult {
    let cache = try TemporaryFolder.shared.fresh("xdg")
    var variables = environment
    if variables["XDG_CACHE_HOME"] == nil { variables["XDG_CACHE_HOME"] = cache }
    return try runNopscope(["record"] + arguments, environment: variables, timeoutSeconds: 120)
  }

  private func build(_ source: String, _ flags: [String] = ["-O1", "-pg"]) throws -> String {
    try Fixture(.gcc, flags, as: .positionIndependentExecutable, source: source).build()
  }

  private func modules(_ path: String) throws -> [[String: Any]] {
    try FileManager.default.contentsOfDirectory(atPath: path).sorted()
      .filter { $0.hasSuffix(".modules") }.flatMap { name in
        try String(contentsOfFile: path + "/" + name, encoding: .utf8).split(separator: "\n")
          .compactMap { try jsonObject(Data($0.utf8))["load"] as? [String: Any] }
      }
  }

  @Test("a program is recorded, and its output and status are its own")
  func records() throws {
    let data = try output()
    let source = """
      #include <stdio.h>
      __attribute__((noinline)) int triple(int a) { return 3 * a; }
      int main(int c, char **v) { printf("%s %d\\n", v[1], triple(c)); return 7; }
      """
    let result = try record(["-o", data, "--", build(source), "x"])
    #expect(result.ending == .exit(7))
    #expect(result.output == "x 6\n")
    #expect(result.standardError.hasPrefix("2 sites, 2 armed, 0 skipped; "))
    #expect(result.standardError.hasSuffix(", 0 lost\n"))
    let session = try jsonObject(Data(contentsOf: URL(fileURLWithPath: data + "/session.json")))
    #expect(session["exitStatus"] as? Int == 7)
    #expect(session["ended"] as? Bool == true)
    let loads = try modules(data)
    let own = try #require(loads.first { ($0["sites"] as? Int ?? 0) > 0 })
    #expect(own["armed"] as? Int == 2)
    #expect(own["status"] as? String == "ok")
    let id = try #require(own["buildID"] as? String)
    let symbols = try String(contentsOfFile: data + "/symbols/" + id, encoding: .utf8)
    #expect(symbols.contains("\ttriple\n") && symbols.contains("\tmain\n"))
  }

  /// The shell stops its parent, which is the recorder, and then becomes the program. Whoever lets
  /// the recorder go on must not load the agent, which would wait for it.
  @Test("a recorder that answers only after three seconds is waited for")
  func slowRecorder() throws {
    let data = try output()
    let script = """
      agent=$LD_PRELOAD; unset LD_PRELOAD; kill -STOP $PPID
      (NOPSCOPE_AGENT= sleep 3; kill -CONT $PPID) & LD_PRELOAD=$agent exec "$0"
      """
    let source = "int main(void) { return 0; }"
    let result = try record(["-o", data, "--", "/bin/sh", "-c", script, build(source)])
    #expect(result.ending == .exit(0))
    let report = try runNopscope(["report", data, "--json"])
    let functions = try jsonObject(report.standardOutput)["functions"] as? [[String: Any]]
    #expect(functions?.map { $0["calls"] as? Int } == [1])
  }

  @Test("only what the rules want is armed")
  func filters() throws {
    let data = try output()
    let path = try Self.program.build()
    _ = try record(["-o", data, "--filter", "*e*", "--notrace", "leaf", path])
    let own = try #require(try modules(data).first { ($0["sites"] as? Int ?? 0) > 0 })
    let wanted = FixtureSource.instrumented.filter { $0.contains("e") && $0 != "leaf" }
    #expect(own["armed"] as? Int == wanted.count)
    #expect(own["sites"] as? Int == FixtureSource.instrumented.count)
  }

  @Test("a second run takes the sites from the cache, with the same plan")
  func cache() throws {
    let cache = try TemporaryFolder.shared.fresh("xdg")
    let path = try Self.program.build()
    var seen: [NSDictionary] = []
    for _ in 0..<2 {
      let data = try output()
      _ = try record(["-o", data, path], environment: ["XDG_CACHE_HOME": cache])
      let own = try #require(try modules(data).first { ($0["sites"] as? Int ?? 0) > 0 })
      let id = try #require(own["buildID"] as? String)
      seen.append([
        "armed": own["armed"] ?? 0,
        "symbols": try String(contentsOfFile: data + "/symbols/" + id, encoding: .utf8),
      ])
      #expect(FileManager.default.fileExists(atPath: cache + "/nopscope/" + id))
    }
    #expect(seen.first == seen.last)
  }

  @Test("a fatal signal is the program's, and is passed on")
  func signal() throws {
    let path = try build("int main(void) { *(volatile int *)0 = 1; return 0; }")
    let data = try output()
    let result = try record(["-o", data, path])
    #expect(result.ending == .signal(SIGSEGV))
    let session = try jsonObject(Data(contentsOf: URL(fileURLWithPath: data + "/session.json")))
    #expect(session["exitStatus"] as? Int == 128 + Int(SIGSEGV))
  }

  private func processLines(of data: String) throws -> [[String: Any]] {
    try String(contentsOfFile: data + "/processes", encoding: .utf8).split(separator: "\n").map {
      try #require(try jsonObject(Data($0.utf8))["process"] as? [String: Any])
    }
  }

  @Test("a script is recorded through its interpreter")
  func script() throws {
    let path = try TemporaryFolder.shared.fresh("script") + "/run"
    let program = try Self.program.build()
    try ProgramFile.write("#! /bin/sh\nexec \(program) \"$@\"\n".utf8, to: path)
    let data = try output()
    let result = try record(["-o", data, path])
    #expect(result.standardError.hasPrefix("11 sites, 11 armed"))
    let processes = try processLines(of: data)
    #expect(processes.map { $0["incarnation"] as? Int } == [0, 1])
    #expect(processes.last?["program"] as? String == program)
  }

  @Test("a program without instrumented functions runs, and we say how to get some")
  func uninstrumented() throws {
    let path = try build("int main(void) { return 4; }", ["-O1"])
    let result = try record(["-o", output(), path])
    #expect(result.ending == .exit(4))
    #expect(
      result.standardError.hasPrefix(
        "nopscope: \(path): no instrumented function in it or its libraries: compile with -pg or "
          + "-fpatchable-function-entry=5\n0 sites"))
  }

  @Test("an earlier recording moves to .old; the one before goes")
  func earlier() throws {
    let data = try output()
    let path = try Self.program.build()
    for number in 0..<3 { _ = try record(["-o", data, path, "\(number)"]) }
    func command(_ path: String) throws -> [String]? {
      let url = URL(fileURLWithPath: path + "/session.json")
      return try jsonObject(Data(contentsOf: url))["command"] as? [String]
    }
    #expect(try command(data) == [path, "2"])
    #expect(try command(data + ".old") == [path, "1"])
  }

  @Test("a program that cannot be started leaves the recording before it where it was")
  func notStarted() throws {
    let data = try output()
    _ = try record(["-o", data, Self.program.build()])
    let before = try FileManager.default.contentsOfDirectory(atPath: data).sorted()
    // A loader that is not there: only execve finds out.
    let odd = try TemporaryFolder.shared.fresh("odd") + "/program"
    try Tools.run(
      "gcc",
      [
        "-x", "c", "/dev/null", "-nostdlib", "-pie", "-Wl,-e,0", "-o", odd,
        "-Wl,--dynamic-linker=/no/such/loader",
      ])
    let result = try record(["-o", data, odd])
    #expect(result.ending == .exit(126))
    #expect(try FileManager.default.contentsOfDirectory(atPath: data).sorted() == before)
    #expect(!FileManager.default.fileExists(atPath: data + ".old"))
  }

  @Test("help is help", arguments: ["-h", "--help"])
  func help(option: String) throws {
    let result = try record([option])
    #expect(result.ending == .exit(0))
    #expect(result.output.contains("USAGE: nopscope record [OPTION]... [--] PROGRAM"))
    #expect(result.standardError == "")
  }

  @Test("a thread is known by the name that it took after its first call")
  func nameLater() throws {
    let source = """
      #define _GNU_SOURCE
      #include <pthread.h>
      #include <sys/prctl.h>
      static volatile int one = 1;
      __attribute__((noinline)) int work(int n) { return n + one; }
      void *thread(void *way) {
        work(1);
        if (way) pthread_setname_np(pthread_self(), "keeper");
        else prctl(PR_SET_NAME, "other");
        return (void *)(long)work(2);
      }
      int main(void) {
        pthread_t id[2];
        for (long i = 0; i < 2; i++) pthread_create(&id[i], 0, thread, (void *)i);
        for (int i = 0; i < 2; i++) pthread_join(id[i], 0);
        return 0;
      }
      """
    let data = try output()
    let program = try build(source, ["-O1", "-pg", "-pthread"])
    #expect(try record(["-o", data, program]).ending == .exit(0))
    for name in ["keeper", "other"] {
      let report = try runNopscope(["report", data, "--thread", name])
      #expect(report.ending == .exit(0))
      #expect(report.standardError.contains("only calls of the threads \(name)\n"))
      #expect(report.standardError.contains("3 calls of 2 functions in 1 thread;"))
    }
  }

  @Test("the recording has the arguments of each process, of a forked one too")
  func arguments() throws {
    let data = try output()
    let program = try build(
      """
      #include <sys/wait.h>
      #include <unistd.h>
      __attribute__((noinline)) void work(void) { __asm__ volatile(""); }
      int main(int count, char **words) {
        if (count == 3 && fork() == 0) { work(); execl(words[0], words[0], "again", (char *)0); }
        while (wait(0) > 0) {}
        work();
        return 0;
      }
      """)
    #expect(try record(["-o", data, "--", program, "one", "a\u{1b}b"]).ending == .exit(0))
    let document = try jsonObject(try runNopscope(["info", data, "--json"]).standardOutput)
    let processes = try #require(document["processes"] as? [[String: Any]])
    let first = [program, "one", "a\u{1b}b"]
    #expect(
      processes.map { $0["arguments"] as? [String] } == [first, first, [program, "again"]])
  }

  @Test("a rule that matches no function is said; one that matches is not")
  func unusedRules() throws {
    let program = try Self.program.build()
    let options = [
      "--filter", "main", "--filter", "nosuch_*", "--notrace", "!absent", "--graph", "main",
    ]
    let result = try record(["-o", output()] + options + [program])
    let lines = result.standardError.split(separator: "\n").filter { $0.contains("matches it") }
    #expect(
      lines == [
        "nopscope: --filter 'nosuch_*': no function that can be traced matches it; nopscope sites FILE lists them",
        "nopscope: --notrace '!absent': no function that can be traced matches it; nopscope sites FILE lists them",
      ])
  }

  @Test("a rule that matches no thread is said; one that matches is not, nor one that is overruled")
  func unusedThreadRules() throws {
    let program = try Self.program.build()
    let own = (program as NSString).lastPathComponent.prefix(15)
    func lines(_ rules: [String]) throws -> [Substring] {
      let result = try record(
        ["-o", output()] + rules.flatMap { ["--thread", $0] } + [program])
      return result.standardError.split(separator: "\n").filter { $0.contains("matches it") }
    }
    let rest =
      "no thread that called a traced function matches it; of a recording without --thread, "
      + "nopscope report --by thread lists them"
    #expect(
      try lines([String(own), "nosuch*", "!absent"]) == [
        "nopscope: --thread 'nosuch*': \(rest)", "nopscope: --thread '!absent': \(rest)",
      ])
    #expect(try lines(["*", "!\(own)", "\(own)"]) == [])
    #expect(try lines(["nosuch*"]) == ["nopscope: --thread 'nosuch*': \(rest)"])
  }

  @Test("a report of a flight recorder says that it has but the end")
  func flightRecorder() throws {
    let source = """
      static volatile int one = 1;
      __attribute__((noinline)) int work(int n) { return n + one; }
      int main(void) { for (int i = 0; i < 100000; i++) work(i); return 0; }
      """
    let program = try build(source)
    for (options, isCut) in [(["--overwrite", "64K"], true), (["--overwrite", "64M"], false)] {
      let data = try output()
      #expect(try record(["-o", data] + options + [program]).ending == .exit(0))
      let report = try runNopscope(["report", data])
      #expect(report.standardError.contains("; earlier events were overwritten;") == isCut)
    }
  }

  @Test("a filter that no function matches is said")
  func noMatch() throws {
    let program = try build("int work(void) { return 0; } int main(void) { return work(); }")
    let result = try record(["-o", try output(), "--filter", "wokr", program])
    #expect(result.ending == .exit(0))
    #expect(result.standardError.contains("--filter and --notrace leave no function to trace"))
    let other = try record(["-o", try output(), "--filter", "work", program])
    #expect(!other.standardError.contains("leave no function"))
  }

  @Test("a profile's own times are no more than all of it, also where calls were unwound")
  func unwoundProfile() throws {
    let source = """
      #include <setjmp.h>
      static jmp_buf back;
      static volatile int one = 1;
      __attribute__((noinline)) void leaf(void) { for (int i = 0; i < 1000; i++) one = 1; }
      __attribute__((noinline)) void deep(int n) {
        for (int i = 0; i < 100000; i++) one = 1;
        if (n == 0) longjmp(back, 1);
        deep(n - 1);
        one = 1;
      }
      __attribute__((noinline)) void outer(void) {
        if (setjmp(back) == 0) deep(5);
        leaf();
      }
      int main(void) { outer(); return 0; }
      """
    let data = try output()
    let result = try record(["-o", data, "--tracer", "profile", build(source)])
    #expect(result.ending == .exit(0))
    let report = try jsonObject(runNopscope(["report", "--json", data]).standardOutput)
    let rows = try #require(report["functions"] as? [[String: Any]])
    func sum(_ key: String, _ name: String? = nil) -> Int {
      rows.filter { name == nil || $0["function"] as? String == name }
        .reduce(0) { $0 + ($1[key] as? Int ?? 0) }
    }
    #expect(sum("calls", "deep") == 6)
    #expect(sum("totalNanoseconds", "deep") > sum("selfNanoseconds", "outer"))
    #expect(sum("selfNanoseconds") <= sum("totalNanoseconds", "main") + rows.count)
  }

  @Test("children by fork and by exec take part, each image with files of its own")
  func children() throws {
    let source = """
      #include <sys/wait.h>
      #include <unistd.h>
      __attribute__((noinline)) int work(int n) { return n + 1; }
      int main(int c, char **v) {
        if (c > 1) return work(c) - 3;
        if (fork() == 0) _exit(work(1) - 2);
        wait(0);
        if (fork() == 0 && work(1)) execl(v[0], v[0], "again", (char *)0);
        wait(0);
        return work(4);
      }
      """
    let data = try output()
    let result = try record(["-o", data, build(source)])
    #expect(result.ending == .exit(5))
    let processes = try processLines(of: data)
    #expect(processes.first?["begin"] as? String == "start")
    #expect(processes.contains { $0["incarnation"] as? Int == 1 })
    #expect(processes.contains { $0["begin"] as? String == "fork" })
    for process in processes {
      let events = try #require(process["events"] as? String)
      #expect(FileManager.default.fileExists(atPath: data + "/" + events))
      let modules = try #require(process["modules"] as? String)
      let text = try String(contentsOfFile: data + "/" + modules, encoding: .utf8)
      #expect(text.contains("\"sites\":2"), "\(process)")
    }
  }

  @Test("what was preloaded already still is, after the agent")
  func preload() throws {
    let source = """
      #include <stdio.h>
      #include <stdlib.h>
      int main(void) { puts(getenv("LD_PRELOAD")); return 0; }
      """
    let result = try record(
      ["-o", output(), build(source)], environment: ["LD_PRELOAD": "libm.so.6"])
    #expect(result.output.hasSuffix("libNopscopeAgent.so:libm.so.6\n"))
  }

  @Test("a program's name alone records it; a word that is nothing is said to be so")
  func bare() throws {
    let folder = try TemporaryFolder.shared.fresh("bare")
    let program = try Self.program.build()
    let result = try runChild(
      "/bin/sh", ["-c", "cd \(folder) && exec \(Tools.nopscope) \(program) --help"],
      environment: ["XDG_CACHE_HOME": folder])
    #expect(result.standardError.contains("11 sites, 11 armed"))
    let url = URL(fileURLWithPath: folder + "/nopscope.data/session.json")
    let command = try jsonObject(Data(contentsOf: url))["command"] as? [String]
    #expect(command == [program, "--help"])
    #expect(try runNopscope(["no-such-word"]).ending == .exit(127))
  }
}
