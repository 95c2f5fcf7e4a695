// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// Wall time against CPU time: which calls waited.
@Suite struct WaitTests {
  private static let program = Fixture(
    .gcc, ["-O1", "-pg"], as: .positionIndependentExecutable,
    source: """
      #include <unistd.h>
      #include <time.h>
      static volatile int sink;
      __attribute__((noinline)) void pause_a_while(void) { usleep(200000); sink++; }
      __attribute__((noinline)) void compute(void) {
        struct timespec now, begin;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
        do {
          for (int i = 0; i < 10000; i++) sink += i;
          clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
        } while ((now.tv_sec - begin.tv_sec) * 1e9 + now.tv_nsec - begin.tv_nsec < 1e8);
      }
      int main(void) { pause_a_while(); compute(); return 0; }
      """)

  private func recording(_ options: [String] = []) throws -> String {
    let data = try TemporaryFolder.shared.fresh("waits") + "/data"
    let made = try runNopscope(
      ["record", "-q", "-o", data] + options + [try Self.program.build()])
    #expect(made.ending == .exit(0))
    return data
  }

  /// Why a recording of this machine cannot have waits; nil: it can.
  private func reason(_ data: String) throws -> String? {
    let session = try Data(contentsOf: URL(fileURLWithPath: data + "/session.json"))
    return try jsonObject(session)["noSwitches"] as? String
  }

  private func rows(_ data: String) throws -> [String: (own: Int, wait: Int?)] {
    let run = try runNopscope(["report", "--json", data])
    let functions = try jsonObject(Data(run.output.utf8))["functions"] as? [[String: Any]]
    var rows: [String: (own: Int, wait: Int?)] = [:]
    for row in functions ?? [] {
      let name = try #require(row["function"] as? String)
      rows[name] = (try #require(row["selfNanoseconds"] as? Int), row["waitNanoseconds"] as? Int)
    }
    return rows
  }

  @Test("a function that sleeps waits, and one that computes uses the CPU for as long as it says")
  func waits() throws {
    let data = try recording()
    if let reason = try reason(data) {
      #expect(reason.hasPrefix("perf_event_open: "))
      return
    }
    let rows = try rows(data)
    let sleeping = try #require(rows["pause_a_while"])
    let computing = try #require(rows["compute"])
    // By the program's own clocks: it slept 200 ms, and used the CPU for 100.
    #expect(Double(try #require(sleeping.wait)) > 0.95 * 2e8)
    #expect(Double(sleeping.own - sleeping.wait!) < 0.1 * 2e8)
    let used = computing.own - (try #require(computing.wait))
    #expect(Double(used) > 0.9e8 && Double(used) < 1.3e8, "\(used)")
    let table = try runNopscope(["report", data])
    #expect(table.output.hasPrefix("SELF%"))
    #expect(table.output.split(separator: "\n")[0].contains("  CPU "))
    #expect(table.output.split(separator: "\n")[0].contains("  WAIT "))
    let text = try runNopscope(["replay", data])
    let line = try #require(
      text.output.split(separator: "\n").first { $0.contains("pause_a_while") })
    #expect(line.contains("/* off the CPU 2"), "\(line)")
    let ftrace = try runNopscope(["replay", "--ftrace", data])
    #expect(!ftrace.output.contains("off the CPU"))
  }

  @Test("--no-sched records none of it")
  func without() throws {
    let data = try recording(["--no-sched"])
    #expect(!FileManager.default.fileExists(atPath: data + "/switches"))
    #expect(try reason(data) == nil)
    #expect(try rows(data).values.allSatisfy { $0.wait == nil })
    let table = try runNopscope(["report", data])
    #expect(!table.output.contains("WAIT"))
  }

  @Test("a damaged file of switches costs its times, and one line says so")
  func damaged() throws {
    let data = try recording()
    if try reason(data) != nil { return }
    let path = data + "/switches"
    try Data(repeating: 0x41, count: 200).write(to: URL(fileURLWithPath: path))
    let report = try runNopscope(["report", data])
    #expect(report.output.contains("pause_a_while"))
    #expect(
      report.standardError.contains("switches: expected the head of a file of context switches"))
    try Data(repeating: 0x41, count: 5).write(to: URL(fileURLWithPath: path))
    #expect(try runNopscope(["report", data]).output.contains("pause_a_while"))
  }
}
