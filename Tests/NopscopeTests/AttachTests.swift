// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// `nopscope attach` and `nopscope detach`, on programs that check every result of theirs.
@Suite struct AttachTests {
  static let forms = [["-pg"], ["-pg", "-mfentry"], ["-fpatchable-function-entry=5"]]
  static let tracers = ["function_graph", "function", "callgraph", "profile", "hits"]

  static func server(_ form: [String]) throws -> String {
    try Fixture(
      .gcc, ["-O1"] + form, link: ["-lpthread", "-ldl"], as: .positionIndependentExecutable,
      source: AttachedServer.source
    ).build()
  }

  static func library(_ form: [String]) throws -> String {
    try Fixture(
      .gcc, ["-O1"] + form,
      source: """
        int inside(int a) { return a + 1; }
        int loaded(int a) { return inside(a); }
        """
    ).build()
  }

  private func fresh() throws -> String {
    try TemporaryFolder.shared.fresh("attach") + "/data"
  }

  /// Attaches for a moment: what nopscope said.
  @discardableResult
  private func attach(
    _ program: RunningProgram, _ data: String, _ options: [String] = [], milliseconds: Int = 60
  ) throws -> ChildResult {
    let result = try runNopscope(
      ["attach", "\(program.pid)", "--duration", "\(milliseconds)ms", "-o", data] + options)
    #expect(result.ending == .exit(0), "\(result.standardError)")
    return result
  }

  private func calls(_ data: String) throws -> [String: Int] {
    let report = try jsonObject(runNopscope(["report", "--json", data]).standardOutput)
    let rows = try #require(report["functions"] as? [[String: Any]])
    return rows.reduce(into: [:]) {
      if let name = $1["function"] as? String, let calls = $1["calls"] as? Int { $0[name] = calls }
    }
  }

  private func bytesDiffer(_ program: RunningProgram) throws -> Bool {
    try runNopscope(["audit", "\(program.pid)"]).ending != .exit(0)
  }

  @Test("each form in one thread and in several", arguments: forms, ["c", "cccp"])
  func recordsAndLeaves(form: [String], work: String) throws {
    let program = try RunningProgram(Self.server(form), [work])
    usleep(300_000)  // its threads have opened what they need
    let before = (program.count("task"), program.count("fd"))
    let data = try fresh()
    let result = try attach(program, data)
    #expect(result.standardError.contains(" 0 lost"))
    #expect(result.standardError.contains("0 bytes differ from its files"))
    #expect(try calls(data)["leaf"] ?? 0 > 100)
    #expect(try !bytesDiffer(program))
    #expect(before == (program.count("task"), program.count("fd")))
    #expect(program.end() == 0)
  }

  @Test("each tracer after each other, in one process, and no mapping more")
  func tracersInTurn() throws {
    let program = try RunningProgram(Self.server(["-pg"]), ["cc"])
    var mappings: [Int] = []
    for tracer in Self.tracers + Self.tracers.reversed() {
      let data = try fresh()
      try attach(program, data, ["--tracer", tracer])
      #expect(try calls(data)["leaf"] ?? 0 > 100, "\(tracer)")
      mappings.append(program.count("maps"))
    }
    #expect(mappings[5...].allSatisfy { $0 <= mappings[4] + 4 }, "\(mappings)")
    #expect(program.end() == 0)
  }

  /// Each storm by itself in the form that needs stopped threads, all together in each.
  static let stormRows =
    ["1", "1s", "mm", "cl", "cf", "ct"].map { (forms[0], $0) } + forms.map { ($0, "cmlfts") }

  @Test("storms of malloc, loads, forks, threads and signals", arguments: stormRows)
  func storms(form: [String], work: String) throws {
    let program = try RunningProgram(Self.server(form), [work, Self.library(form)])
    for tracer in Self.tracers.prefix(work == "cmlfts" ? 5 : 2) {
      try attach(program, fresh(), ["--quiet", "--tracer", tracer], milliseconds: 30)
    }
    #expect(try !bytesDiffer(program) || work.contains("l"))
    #expect(program.end() == 0)
  }

  @Test("calls that sleep at a depth return as they would alone", arguments: forms)
  func returnsAreGivenBack(form: [String]) throws {
    let program = try RunningProgram(Self.server(form), ["zzz"])
    for _ in 0..<3 { try attach(program, fresh(), ["-q"], milliseconds: 600) }
    #expect(try !bytesDiffer(program))
    usleep(600_000)  // all of them have returned
    #expect(program.end() == 0)
  }

  @Test("what was not called then is not there, and rules are those of record")
  func rules() throws {
    let program = try RunningProgram(Self.server(["-pg", "-mfentry"]), ["c"])
    let data = try fresh()
    try attach(program, data, ["--filter", "le*"])
    #expect(Set(try calls(data).keys) == ["leaf"])
    #expect(program.end() == 0)
  }

  /// Options, and the functions that are recorded with them.
  static let optionRows: [([String], Set<String>)] = [
    (["--notrace", "leaf"], ["deep"]), (["--graph", "deep"], ["deep", "leaf"]),
    (["--thread", "nobody"], []), (["--max-depth", "3"], ["deep", "leaf"]),
    (["--threshold", "1000s"], []), (["--overwrite", "1M", "--no-sched"], ["deep", "leaf"]),
    (["--delay", "10ms", "--require-sites"], ["deep", "leaf"]),
    (["--start-on", "leaf", "--stop-on", "nobody"], ["deep", "leaf"]),
    (
      ["--overwrite", "1M", "--snapshot-on", "deep>1us", "--snapshots", "1"],
      ["deep", "leaf"]
    ),
    (["--overwrite", "1M", "--snapshot-signal", "USR1"], ["deep", "leaf"]),
    (["--args", "leaf(int a) -> int"], ["deep", "leaf"]),
  ]

  @Test("it takes the options of record", arguments: forms)
  func optionsOfRecord(form: [String]) throws {
    let program = try RunningProgram(Self.server(form), ["c"])
    for (options, expected) in Self.optionRows {
      let data = try fresh()
      let result = try runNopscope(
        ["attach", "\(program.pid)", "--duration", "100ms", "--output", data] + options)
      #expect(result.ending == .exit(0), "\(options): \(result.standardError)")
      #expect(Set(try calls(data).filter { $1 > 0 }.keys) == expected, "\(options)")
    }
    #expect(try !bytesDiffer(program))
    #expect(program.end() == 0)
  }

  @Test("arguments are those that were passed")
  func arguments() throws {
    let program = try RunningProgram(Self.server(["-pg"]), ["c"])
    let data = try fresh()
    try attach(program, data, ["--args", "leaf(int a) -> int"])
    let text = try runNopscope(["replay", data, "--function", "leaf"]).output
    let found = text.matches(of: /leaf\(a=(\d+)\) = (\d+);/)
    #expect(found.count > 100)
    #expect(found.allSatisfy { Int($0.1).map { $0 + 1 } == Int($0.2) })
    #expect(program.end() == 0)
  }

  @Test("Ctrl-C ends it, and so does the process's end; record --pid is the same")
  func ends() throws {
    let program = try RunningProgram(Self.server(["-pg"]), ["c"])
    let data = try fresh()
    let recorder = try RunningProgram(
      "/bin/sh",
      [
        "-c",
        "echo; exec '\(Tools.nopscope)' record -p \(program.pid) -o '\(data)' 2>'\(data).err'",
      ])
    try waitUntil {
      (try? String(contentsOfFile: data + ".err", encoding: .utf8))?.contains("Ctrl-C")
    }
    #expect(recorder.end(SIGINT) == 0)
    #expect(try calls(data)["leaf"] ?? 0 > 100)
    #expect(try !bytesDiffer(program))
    let second = try fresh()
    let again = try RunningProgram(
      "/bin/sh",
      [
        "-c",
        "echo; exec '\(Tools.nopscope)' attach \(program.pid) -o '\(second)' 2>'\(second).err'",
      ])
    try waitUntil {
      (try? String(contentsOfFile: second + ".err", encoding: .utf8))?.contains("Ctrl-C")
    }
    #expect(program.end() == 0)
    #expect(again.end(0) == 0)
    #expect(try calls(second)["leaf"] ?? 0 > 100)
  }

  /// Until it is true; nil counts as false.
  private func waitUntil(_ isSo: () -> Bool?) throws {
    for _ in 0..<600 {
      if isSo() == true { return }
      usleep(50_000)
    }
    throw TestSupportError("it did not come about within 30 s")
  }

  @Test("the recorder is killed: the program runs on, and detach gives it back")
  func recorderIsKilled() throws {
    let program = try RunningProgram(Self.server(["-pg"]), ["ccp"])
    let data = try fresh()
    let recorder = try RunningProgram(
      "/bin/sh",
      ["-c", "echo; exec '\(Tools.nopscope)' attach \(program.pid) -o '\(data)' 2>'\(data).err'"])
    try waitUntil {
      (try? String(contentsOfFile: data + ".err", encoding: .utf8))?.contains("Ctrl-C")
    }
    #expect(recorder.end(SIGKILL) == -SIGKILL)
    #expect(try bytesDiffer(program))
    let refused = try runNopscope(["attach", "\(program.pid)", "-o", try fresh()])
    #expect(refused.ending == .exit(125))
    #expect(refused.standardError.contains("nopscope detach \(program.pid) gives it back"))
    let detached = try runNopscope(["detach", "\(program.pid)"])
    #expect(detached.ending == .exit(0), "\(detached.standardError)")
    #expect(try !bytesDiffer(program))
    let twice = try runNopscope(["detach", "\(program.pid)"])
    #expect(twice.ending == .exit(125))
    #expect(twice.standardError.contains("nothing records it"))
    try attach(program, fresh())
    #expect(program.end() == 0)
  }

  @Test("no system call of the program fails because of a visit", arguments: 0..<9)
  func callsGoOn(kind: Int) throws {
    let sleeper = try Fixture(
      .gcc, ["-O1"], as: .positionIndependentExecutable,
      source: """
        #define _GNU_SOURCE
        #include <errno.h>
        #include <poll.h>
        #include <signal.h>
        #include <stdio.h>
        #include <stdlib.h>
        #include <sys/epoll.h>
        #include <sys/ipc.h>
        #include <sys/sem.h>
        #include <sys/socket.h>
        #include <time.h>
        #include <unistd.h>
        int main(int count, char **words) {
          int group = epoll_create1(0), ends[2], result = 0, kind = atoi(words[count - 1]);
          int semaphore = semget(IPC_PRIVATE, 1, 0600);
          struct epoll_event event;
          struct sembuf take = {0, -1, 0};
          const struct timespec time = {2, 0};
          sigset_t none;
          char byte;
          sigemptyset(&none);
          sigaddset(&none, SIGUSR1);
          sigprocmask(SIG_BLOCK, &none, NULL);
          socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
          setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){2, 0}, sizeof(struct timeval));
          puts("ready");
          fflush(stdout);
          errno = 0;
          switch (kind) {
            case 0: result = epoll_wait(group, &event, 1, 2000); break;
            case 1: result = epoll_pwait(group, &event, 1, 2000, NULL); break;
            case 2: result = epoll_pwait2(group, &event, 1, &time, NULL); break;
            case 3: result = sigtimedwait(&none, NULL, &time); break;
            case 4: result = semtimedop(semaphore, &take, 1, &time); break;
            case 5: result = (int)recv(ends[0], &byte, 1, 0); break;
            case 6: result = nanosleep(&time, NULL); break;
            case 7: result = poll(NULL, 0, 2000); break;
            default: result = (int)sleep(2);
          }
          printf("%d %d\\n", result, errno == EINTR);
          semctl(semaphore, 0, IPC_RMID);
          return 0;
        }
        """
    ).build()
    let program = try RunningProgram(sleeper, ["\(kind)"])
    usleep(200_000)
    try attach(program, fresh(), ["-q"])
    #expect(program.end(0) == 0)
    let expected = (3...5).contains(kind) ? "-1 0\n" : "0 0\n"
    #expect(program.rest() == expected)
  }

  @Test("doctor says what attaching would meet, and changes nothing")
  func doctor() throws {
    let program = try RunningProgram(Self.server(["-pg"]), ["zc"])
    usleep(300_000)
    let text = try runNopscope(["doctor", "--pid", "\(program.pid)"])
    #expect(text.ending == .exit(0))
    #expect(text.output.contains("process \(program.pid) can be attached to: 3 threads, "))
    #expect(text.output.contains(" sites (mcount"))
    let document = try jsonObject(
      runNopscope(["doctor", "-p", "\(program.pid)", "--json"]).standardOutput)
    let process = try #require(document["process"] as? [String: Any])
    #expect(process["threads"] as? Int == 3)
    #expect(try !bytesDiffer(program))
    kill(program.pid, SIGSTOP)
    usleep(100_000)
    let stopped = try runNopscope(["doctor", "-p", "\(program.pid)"])
    #expect(stopped.ending == .exit(1))
    #expect(stopped.standardError.contains("it is stopped"))
    kill(program.pid, SIGCONT)
    #expect(program.end() == 0)
    #expect(try runNopscope(["doctor", "-p", "1", "program"]).ending == .exit(64))
  }

  @Test("what cannot be attached to is one clear line, and unchanged")
  func refusals() throws {
    func refuses(_ pid: pid_t, _ expected: String, _ comment: String) throws {
      let data = try fresh()
      let result = try runNopscope(["attach", "\(pid)", "-o", data])
      #expect(result.ending == .exit(125), "\(comment)")
      #expect(result.standardError.contains(expected), "\(result.standardError)")
      #expect(result.standardError.split(separator: "\n").count == 1)
      #expect(!FileManager.default.fileExists(atPath: data))
    }
    let stopped = try RunningProgram(Self.server(["-pg"]), ["c"])
    kill(stopped.pid, SIGSTOP)
    usleep(100_000)
    try refuses(stopped.pid, "it is stopped: let it run first (kill -CONT", "stopped")
    kill(stopped.pid, SIGCONT)
    #expect(stopped.end() == 0)
    let still = try Fixture(
      .gcc, ["-O1"], as: .staticExecutable,
      source: """
        #include <unistd.h>
        #include <stdio.h>
        int main(void) { puts("ready"); fflush(stdout); for (;;) pause(); }
        """
    ).build()
    let isolated = try RunningProgram(still)
    try refuses(isolated.pid, "it is linked statically", "static")
    #expect(isolated.end() == -SIGTERM)
    try refuses(4_000_000, "there is no such process", "none")
    let confined = try RunningProgram(
      try Fixture(
        .gcc, ["-O1"], as: .positionIndependentExecutable,
        source: """
          #include <linux/filter.h>
          #include <linux/seccomp.h>
          #include <stdio.h>
          #include <sys/prctl.h>
          #include <unistd.h>
          int main(void) {
            struct sock_filter all = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
            struct sock_fprog filter = {1, &all};
            prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter);
            puts("ready");
            fflush(stdout);
            for (;;) pause();
          }
          """
      ).build())
    try refuses(confined.pid, "a system call filter", "seccomp")
    #expect(confined.end() == -SIGTERM)
    let wrong = try runNopscope(["attach", "-5"])
    #expect(wrong.ending == .exit(64))
  }
}
