// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// `nopscope slow`: which single calls were slow, and why.
@Suite struct SlowCommandTests {
  private static let program = Fixture(
    .gcc, ["-O1", "-pg", "-pthread"], as: .positionIndependentExecutable,
    source: """
      #define _GNU_SOURCE
      #include <pthread.h>
      #include <unistd.h>
      static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
      static volatile int sink, holds;
      __attribute__((noinline)) void parse(void) { for (int i = 0; i < 2000; i++) sink += i; }
      __attribute__((noinline)) void take_lock(void) { pthread_mutex_lock(&lock); sink++; }
      __attribute__((noinline)) void handle(void) {
        parse();
        take_lock();
        pthread_mutex_unlock(&lock);
      }
      __attribute__((noinline)) void flush_disk(void) { holds = 1; usleep(100000); sink++; }
      __attribute__((noinline)) void *compact(void *unused) {
        pthread_mutex_lock(&lock);
        flush_disk();
        pthread_mutex_unlock(&lock);
        return unused;
      }
      int main(void) {
        pthread_t thread;
        for (int i = 0; i < 50; i++) handle();
        pthread_create(&thread, 0, compact, 0);
        pthread_setname_np(thread, "compactor");
        while (!holds) usleep(100);
        handle();
        pthread_join(thread, 0);
        for (int i = 51; i < 100; i++) handle();
        return 0;
      }
      """)

  @Test("slow shows where the slowest call differs from the median one, and who held the lock")
  func showsWhy() throws {
    let data = try TemporaryFolder.shared.fresh("slow") + "/data"
    let made = try runNopscope(["record", "-q", "-o", data, try Self.program.build()])
    #expect(made.ending == .exit(0))
    let run = try runNopscope(["slow", "handle", "-n", "1", data])
    #expect(run.ending == .exit(0))
    let lines = run.output.split(separator: "\n").map(String.init)
    #expect(lines[0].hasPrefix("handle: 100 calls, median "))
    #expect(lines[1].hasPrefix("1. ") && lines[1].contains(" ms at "))
    let heads = lines[2].split(separator: " ").filter { $0 != "WAIT" }
    #expect(heads == ["TIME", "CALLS", "MEDIAN", "CALLS", "FUNCTION"])
    // parse took less than 1 % of the slow call.
    let names = lines[3...].prefix { $0 != "meanwhile:" }.map { $0.split(separator: " ").last }
    #expect(names == ["handle", "take_lock"])
    #expect(
      lines.contains { $0.hasPrefix("  compactor/") && $0.contains(" in flush_disk < compact") },
      "\(run.output)")
  }

  /// Two threads. The second is in `hold` while the third call of `work` waits.
  private func recording(_ tracer: String = "function_graph") throws -> String {
    let base: UInt64 = 1_000_000
    let first = SyntheticChunk { encoder in
      encoder.entry(0, at: base)
      for (start, long) in [(1000, 100), (2000, 120), (3000, 5000), (9000, 110)]
        as [(UInt64, UInt64)]
      {
        encoder.entry(1, at: base + start)
        encoder.call(2, from: base + start + 10, to: base + start + long - 10)
        encoder.exit(at: base + start + long)
      }
      encoder.exit(at: base + 20_000)
    }
    var second = SyntheticChunk { encoder in
      encoder.entry(3, at: base + 2500)
      encoder.call(4, from: base + 2600, to: base + 7600)
      encoder.exit(at: base + 7700)
    }
    second.thread = 4712
    second.name = "holder"
    second.serial = 1
    let module = SyntheticModule("/bin/x", functions: ["main", "work", "wait", "hold", "sleep"])
    return try SyntheticRecording(
      tracer: tracer, processes: [SyntheticProcess(modules: [module], chunks: [first, second])]
    ).write()
  }

  @Test("the trees, the median and the other threads' time are exact")
  func document() throws {
    let run = try runNopscope(["slow", "work", "-n", "2", "--json", try recording()])
    let document = try jsonObject(Data(run.output.utf8))
    #expect(document["schema"] as? String == "nopscope.slow/1")
    #expect(document["calls"] as? Int == 4)
    let slowest = try #require(document["slowest"] as? [[String: Any]])
    #expect(slowest.map { $0["nanoseconds"] as? Int } == [5000, 120])
    #expect(slowest[0]["startNanoseconds"] as? Int == 3000)
    let tree = try #require(slowest[0]["tree"] as? [[String: Any]])
    #expect(tree.map { $0["function"] as? String } == ["work", "wait"])
    #expect(tree.map { $0["totalNanoseconds"] as? Int } == [5000, 4980])
    #expect(tree[1]["parent"] as? Int == 0)
    let median = try #require(document["median"] as? [String: Any])
    #expect([110, 120].contains(median["nanoseconds"] as? Int))
    // From 3000 to 8000: in sleep until 7600, in hold until 7700, then in nothing.
    let others = try #require(slowest[0]["meanwhile"] as? [[String: Any]])
    #expect(others.map { $0["name"] as? String } == ["holder"])
    let parts = try #require(others[0]["parts"] as? [[String: Any]])
    #expect(parts.map { $0["nanoseconds"] as? Int } == [4600, 100])
    #expect(parts.map { $0["functions"] as? [String] } == [["sleep", "hold"], ["hold"]])
  }

  @Test("--minimum leaves out of the trees what took less than this percentage of the call")
  func minimum() throws {
    func names(_ least: String) throws -> [String] {
      let run = try runNopscope(["slow", "main", "--minimum", least, try recording()])
      #expect(run.ending == .exit(0))
      return run.output.split(separator: "\n").dropFirst(3).prefix { $0 != "meanwhile:" }
        .compactMap { $0.split(separator: " ").last.map(String.init) }
    }
    #expect(try names("0") == ["main", "work", "wait"])
    #expect(try names("26.5") == ["main", "work"])
    #expect(try names("50") == ["main"])
  }

  @Test("a function that nobody called, and a tracer that only counts, are one clear line")
  func nothingToShow() throws {
    let none = try runNopscope(["slow", "nosuch", try recording()])
    #expect(none.ending == .exit(1))
    #expect(none.output.isEmpty)
    #expect(none.standardError.contains("no call of nosuch has ended"))
    let counts = try runNopscope(["slow", "work", try recording("callgraph")])
    #expect(counts.ending == .exit(1))
    #expect(counts.standardError.contains("the tracer callgraph only counts them"))
    #expect(try runNopscope(["slow", "work", "-n", "0", try recording()]).ending == .exit(64))
  }

  // MARK: - Filters at reading

  private func rows(_ arguments: [String]) throws -> [String] {
    let words = ["report", "--csv", "--columns", "calls,function", try recording()]
    let run = try runNopscope(words + arguments)
    return run.output.split(whereSeparator: \.isNewline).dropFirst().map(String.init).sorted()
  }

  @Test(
    "report reads the calls that the options choose, with their own times",
    arguments: [
      ([], ["1,hold", "1,main", "1,sleep", "4,wait", "4,work"]),
      (["--min", "1us"], ["1,hold", "1,main", "1,sleep", "1,wait", "1,work"]),
      (["--function", "work"], ["4,wait", "4,work"]),
      (["--function", "w*", "--min", "105ns"], ["1,wait", "3,work"]),
      (["--thread", "hold*"], ["1,hold", "1,sleep"]),
      (["--from", "2us", "--to", "3us"], ["1,hold", "1,sleep", "1,wait", "1,work"]),
      (["--from", "3000s"], []), (["--function", "nosuch"], []),
    ] as [([String], [String])])
  func filters(options: [String], expected: [String]) throws {
    #expect(try rows(options) == expected)
  }

  @Test("a call's own time is without what was left out of it")
  func ownTime() throws {
    let words = ["report", "--csv", "--columns", "self,function", try recording(), "--min", "20us"]
    let run = try runNopscope(words)
    // 20,000 less 100, 120, 5000 and 110.
    #expect(run.output.split(whereSeparator: \.isNewline).last == "14670,main")
  }

  @Test("replay and graph choose the same calls, and say what they left out")
  func otherCommands() throws {
    let options = ["--function", "work", "--min", "1us"]
    let text = try runNopscope(["replay"] + options + [try recording()])
    #expect(
      text.output == """
             SECONDS  THREAD          DURATION  CALL
            0.000003  program/4711              work() {
            0.000003  program/4711    4.980 us    wait();
            0.000008  program/4711    5.000 us  }

        """)
    #expect(
      text.standardError.contains("only calls of work and what it calls, of 1.000 us or more"))
    let tree = try runNopscope(["graph"] + options + [try recording()])
    #expect(tree.output.split(separator: "\n").count == 3)
    let folded = try runNopscope(["export", "--format", "folded"] + options + [try recording()])
    #expect(folded.output.split(separator: "\n") == ["work 20", "work;wait 4980"])
    let chrome = try runNopscope(["export", "--format", "chrome"] + options + [try recording()])
    #expect(chrome.output.split(separator: "\"name\":\"work\"").count == 2)
  }

  @Test("the time of day is that of the recording's clock")
  func clock() throws {
    let run = try runNopscope(["replay", "--clock", try recording()], environment: ["TZ": "UTC"])
    let lines = run.output.split(separator: "\n")
    #expect(lines[0].split(separator: " ").first == "TIME")
    let time = try #require(lines[1].split(separator: " ").first).split(separator: ":")
    #expect(time.count == 3 && time[2].count == "00.000000".count)
    let both = try runNopscope(["replay", "--clock", "--ftrace", try recording()])
    #expect(both.ending == .exit(64))
  }

  @Test("a filter that chooses nothing says so, and one that cannot be used is one clear line")
  func filtersThatFail() throws {
    let none = try runNopscope(["report", "--function", "nosuch", try recording()])
    #expect(none.ending == .exit(1))
    #expect(none.standardError.contains("no call is as the options ask"))
    let refused = try runNopscope(["graph", "--min", "1ms", try recording("callgraph")])
    #expect(refused.ending == .exit(1))
    #expect(refused.output.isEmpty)
    #expect(refused.standardError.contains("the tracer callgraph only counts them"))
    for wrong in [["--from", "25:00:00"], ["--min", "5"], ["--function", "f:mod:"]] {
      #expect(try runNopscope(["report", try recording()] + wrong).ending == .exit(64))
    }
  }
}
