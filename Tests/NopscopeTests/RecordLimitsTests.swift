// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// Limits and lack of space: the program goes on as it would have without us, what was recorded
/// stays readable, what was lost is counted, and one line says so.
@Suite struct RecordLimitsTests {
  /// Prints how SIGXFSZ was set when it began, exits with status 99 at one, and counts its calls.
  private static let source = """
    #include <pthread.h>
    #include <signal.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <unistd.h>
    static void too_large(int number) { _exit(99); }
    __attribute__((noinline)) int work(int i) { __asm__ volatile(""); return i + 1; }
    static void *run(void *limit) {
      long k = 0;
      while (k < (long)limit) k = work(k);
      return (void *)k;
    }
    int main(int count, char **arguments) {
      struct sigaction before;
      sigaction(SIGXFSZ, 0, &before);
      puts(before.sa_handler == SIG_DFL ? "default" : "changed");
      signal(SIGXFSZ, too_large);
      long calls = atol(arguments[1]), threads = atol(arguments[2]), sum = 0;
      pthread_t thread[64];
      for (int i = 0; i < threads; i++) pthread_create(&thread[i], 0, run, (void *)calls);
      for (int i = 0; i < threads; i++) {
        void *done = 0;
        pthread_join(thread[i], &done);
        sum += (long)done;
      }
      printf("%ld\\n", sum);
      return 3;
    }
    """

  private func program() throws -> String {
    try Fixture(
      .gcc, ["-O1", "-pg"], link: ["-pthread"], as: .positionIndependentExecutable,
      source: Self.source
    ).build()
  }

  /// `nopscope record` under a limit of prlimit(1), on so many calls in each of so many threads.
  private func record(
    _ limit: String, _ options: [String], calls: Int, threads: Int, into data: String
  ) throws -> ChildResult {
    let prlimit = try #require(Tools.find("prlimit"), "prlimit (util-linux) is not installed")
    return try runChild(
      prlimit,
      [limit, Tools.nopscope, "record", "-o", data] + options
        + [try program(), "\(calls)", "\(threads)"],
      environment: ["XDG_CACHE_HOME": data + ".cache"], timeoutSeconds: 120)
  }

  /// The same for a program of the test's own.
  private func record(
    _ limit: String, source: String
  ) throws -> (result: ChildResult, data: String) {
    let path = try Fixture(
      .gcc, ["-O1", "-pg"], as: .positionIndependentExecutable, source: source
    ).build()
    let data = try TemporaryFolder.shared.fresh("limit") + "/data"
    let prlimit = try #require(Tools.find("prlimit"), "prlimit (util-linux) is not installed")
    return (try runChild(prlimit, [limit, Tools.nopscope, "record", "-o", data, path]), data)
  }

  private func report(_ data: String) throws -> (calls: Int, lost: Int, result: ChildResult) {
    let result = try runNopscope(["report", "--json", data])
    let document = try jsonObject(result.standardOutput)
    let functions = try #require(document["functions"] as? [[String: Any]])
    let work = functions.first { $0["function"] as? String == "work" }
    let lost = document["lostEvents"] as? Int
    return (work?["calls"] as? Int ?? 0, lost ?? 0, result)
  }

  struct SizeCase: Sendable, CustomStringConvertible {
    var limit: Int
    var options: [String]
    var calls: Int
    var threads = 1
    var description: String { "\(limit) bytes, \(options), \(threads) threads" }
  }

  @Test(
    "a file-size limit ends nobody: what fits is recorded, the rest is counted",
    arguments: [
      SizeCase(limit: 1 << 20, options: [], calls: 2_000_000),
      SizeCase(limit: 1 << 20, options: [], calls: 100_000, threads: 12),
      SizeCase(limit: 1 << 20, options: ["--overwrite", "512K"], calls: 1_000_000, threads: 4),
      SizeCase(limit: 1 << 20, options: ["--tracer", "function"], calls: 1_000_000),
    ])
  func fileSize(one: SizeCase) throws {
    let data = try TemporaryFolder.shared.fresh("limit") + "/data"
    let result = try record(
      "--fsize=\(one.limit)", one.options, calls: one.calls, threads: one.threads, into: data)
    #expect(result.ending == .exit(3), "\(result.standardError)")
    #expect(result.output == "default\n\(one.calls * one.threads)\n")
    let first = result.standardError.split(separator: "\n").first ?? ""
    #expect(first.hasPrefix("nopscope: files may have \(one.limit) bytes (ulimit -f): "))
    let report = try report(data)
    #expect(report.result.ending == .exit(0))
    // The flight recorder may have made room in time: what was overwritten is not lost.
    #expect(report.lost > 0 || one.options.contains("--overwrite"), "\(result.standardError)")
    #expect(report.calls < one.calls * one.threads)
    #expect(report.calls > 0)
    let lines = report.result.standardError.split(separator: "\n")
    #expect(
      lines.allSatisfy { $0.contains("only the end of each thread is here") }
        && lines.count == (one.options.contains("--overwrite") ? 1 : 0),
      "what was lost is no damage")
  }

  @Test(
    "a limit that no thread's buffer fits into is one line, and nothing runs",
    arguments: [70_000, 4000, 300], [[], ["--tracer", "hits"], ["--overwrite", "512K"]])
  func tooSmall(limit: Int, options: [String]) throws {
    let data = try TemporaryFolder.shared.fresh("limit") + "/data"
    let result = try record("--fsize=\(limit)", options, calls: 1, threads: 1, into: data)
    #expect(result.ending == .exit(125))
    #expect(result.output == "")
    let isSmaller = options.first == "--overwrite"
    #expect(
      result.standardError
        == "nopscope: files may have \(limit) bytes (ulimit -f), expected at least "
        + (isSmaller ? "524288" : "77824") + " for one thread's buffer: raise it"
        + (isSmaller ? ", or give --overwrite a smaller size" : "") + "\n")
    #expect(!FileManager.default.fileExists(atPath: data))
  }

  @Test("a limit that was ignored already stays ignored for the program")
  func ignoredBefore() throws {
    let data = try TemporaryFolder.shared.fresh("limit") + "/data"
    let result = try runChild(
      "/bin/sh",
      [
        "-c", "trap '' XFSZ; exec \"$0\" record -o \"$1\" \"$2\" 10 1", Tools.nopscope, data,
        try program(),
      ])
    #expect(result.output == "changed\n10\n")
  }

  @Test("too little address space for hooked returns: said up front, the program runs")
  func addressSpace() throws {
    let data = try TemporaryFolder.shared.fresh("limit") + "/data"
    let limit = 2 << 30
    let hooked = try record("--as=\(limit)", [], calls: 1000, threads: 1, into: data)
    #expect(hooked.ending == .exit(3))
    #expect(hooked.output == "default\n1000\n")
    #expect(
      hooked.standardError.hasPrefix(
        "nopscope: address space is limited to \(limit) bytes (ulimit -v), expected 34359738368 for "
          + "hooked returns: calls are recorded without times: raise it, or use --tracer callgraph, "
          + "function or hits\n"))
    for tracer in ["function_graph", "callgraph", "function", "hits"] {
      let other = try record(
        "--as=\(limit)", ["--tracer", tracer], calls: 1000, threads: 1, into: data)
      #expect(other.output == "default\n1000\n")
      let report = try report(data)
      #expect(report.calls == 1000)
      #expect(report.lost == 0)
    }
  }

  @Test("few descriptors: the program has its own, and runs")
  func descriptors() throws {
    let data = try TemporaryFolder.shared.fresh("limit") + "/data"
    for limit in [40, 64] {
      let result = try record("--nofile=\(limit)", [], calls: 1000, threads: 1, into: data)
      #expect(result.ending == .exit(3), "\(limit): \(result.standardError)")
      #expect(result.output == "default\n1000\n")
      if limit == 64 { #expect(try report(data).calls == 1000) }
    }
  }

  @Test("the soft limit of descriptors is the program's, and not the recorder's")
  func softLimit() throws {
    let source = """
      #include <stdio.h>
      #include <sys/resource.h>
      #include <sys/wait.h>
      #include <unistd.h>
      __attribute__((noinline)) int work(int i) { __asm__ volatile(""); return i + 1; }
      int main(void) {
        enum { CHILDREN = 60 };
        int all[2], end[2];
        char byte = 0;
        struct rlimit limit;
        getrlimit(RLIMIT_NOFILE, &limit);
        printf("%d %d\\n", (int)limit.rlim_cur, (int)limit.rlim_max);
        fflush(stdout);
        if (pipe(all) || pipe(end)) return 1;
        for (int i = 0; i < CHILDREN; i++) {
          if (fork() != 0) continue;
          close(end[1]);
          work(i);
          if (write(all[1], &byte, 1) != 1) _exit(1);
          _exit(read(end[0], &byte, 1) != 0);
        }
        for (int i = 0; i < CHILDREN; i++) if (read(all[0], &byte, 1) != 1) return 2;
        close(end[1]);
        int status, bad = 0;
        while (wait(&status) > 0) bad |= status;
        return bad ? 4 : 3;
      }
      """
    // Each process that is recorded takes two of the recorder's.
    let (result, data) = try record("--nofile=80:1000", source: source)
    #expect(result.ending == .exit(3), "\(result.standardError)")
    #expect(result.output == "80 1000\n")
    #expect(result.standardError.hasSuffix(", 0 lost\n"), "\(result.standardError)")
    #expect(try report(data).calls == 60)
  }

  @Test("children that end sooner than the recorder can take them over are all recorded")
  func moreChildrenThanPlaces() throws {
    let source = """
      #include <sys/wait.h>
      #include <unistd.h>
      __attribute__((noinline)) int work(int i) { __asm__ volatile(""); return i + 1; }
      int main(void) {
        int status, bad = 0;
        for (int i = 0; i < 300; i++) if (fork() == 0) _exit(work(i) != i + 1);
        while (wait(&status) > 0) bad |= status;
        return bad ? 4 : 3;
      }
      """
    // Under this limit the arena has places for some twenty processes at a time.
    let (result, data) = try record("--fsize=\(1 << 20)", source: source)
    #expect(result.ending == .exit(3), "\(result.standardError)")
    #expect(result.standardError.hasSuffix(", 0 lost\n"), "\(result.standardError)")
    #expect(try report(data).calls == 300)
  }
}

/// What needs a file system of its own, in a mount namespace of a child's.
@Suite struct RecordFullDiskTests {
  /// Whether a child of ours may mount: root as a rule, and not in every container.
  static let canMount: Bool = {
    let result = try? runChild(
      "/bin/sh", ["-c", "unshare -m sh -c 'mount -t tmpfs none /mnt && umount /mnt'"])
    return result?.ending == .exit(0)
  }()
  static let reason: Comment = "mounting is not allowed here: a child needs CAP_SYS_ADMIN for it"

  private func program() throws -> String {
    try Fixture(
      .gcc, ["-O1", "-pg"], as: .positionIndependentExecutable,
      source: """
        #include <stdio.h>
        #include <stdlib.h>
        __attribute__((noinline)) int work(int i) { __asm__ volatile(""); return i + 1; }
        int main(int c, char **v) {
          int k = 0, n = atoi(v[1]);
          while (k < n) k = work(k);
          printf("%d\\n", k);
          return 3;
        }
        """
    ).build()
  }

  /// Runs `script` with a file system of `options` at $1; $2 is nopscope, $3 the program.
  private func run(_ options: String, _ script: String) throws -> ChildResult {
    let folder = try TemporaryFolder.shared.fresh("disk")
    let whole = """
      mount -t tmpfs -o \(options) none "$1" || exit 77
      \(script)
      """
    return try runChild(
      "/bin/sh",
      [
        "-c", "exec unshare -m sh -c \"$0\" sh \"$@\"", whole, folder, Tools.nopscope,
        try program(),
      ], environment: ["XDG_CACHE_HOME": folder + ".cache"], timeoutSeconds: 120)
  }

  @Test(
    "a disk that fills up: the program goes on, the recording is read, the rest is counted",
    .enabled(if: canMount, reason),
    arguments: [[], ["--overwrite", "4M"], ["--tracer", "function"]])
  func fills(options: [String]) throws {
    let result = try run(
      "size=600k",
      """
      "$2" record -o "$1/data" \(options.joined(separator: " ")) "$3" 3000000; echo "status $?"
      "$2" report --json "$1/data"
      """)
    let lines = result.output.split(separator: "\n", omittingEmptySubsequences: false)
    #expect(lines.prefix(2) == ["3000000", "status 3"], "\(result.standardError)")
    #expect(
      result.standardError.contains("/data: no space was left: later events are only counted"))
    let document = try jsonObject(Data((lines.dropFirst(2).first ?? "").utf8))
    let functions = try #require(document["functions"] as? [[String: Any]])
    let calls = functions.first { $0["function"] as? String == "work" }?["calls"] as? Int ?? 0
    #expect(calls > 0 && calls < 3_000_000)
    #expect(document["lostEvents"] as? Int ?? 0 > 0)
    #expect(document["corrupted"] as? Bool == false, "\(result.standardError)")
  }

  @Test(
    "a disk that is full before: one line, and nothing is left behind or the program runs",
    .enabled(if: canMount, reason), arguments: [4, 8, 12, 16, 20, 24, 28])
  func isFull(kilobytes: Int) throws {
    for tracer in ["function_graph", "profile", "callgraph", "hits"] {
      let result = try run(
        "size=\(kilobytes)k",
        """
        "$2" record --tracer \(tracer) -o "$1/data" "$3" 1000; echo "status $?"
        """)
      let lines = result.output.split(separator: "\n")
      if lines == ["status 125"] {
        #expect(result.standardError.contains("No space left on device: make room, or choose"))
        #expect(result.standardError.split(separator: "\n").count == 1)
      } else {
        #expect(lines == ["1000", "status 3"], "\(result.ending): \(result.standardError)")
      }
    }
  }

  @Test(
    "a read-only directory is one line, and the program does not run",
    .enabled(if: canMount, reason))
  func readOnly() throws {
    let result = try run(
      "size=1m",
      """
      mount -o remount,ro "$1"; "$2" record -o "$1/data" "$3" 1000; echo "status $?"
      """)
    #expect(result.output == "status 125\n")
    #expect(result.standardError.hasPrefix("nopscope: "))
    #expect(
      result.standardError.hasSuffix(
        "/data: cannot make the recording: Read-only file system\n"))
    #expect(result.standardError.split(separator: "\n").count == 1)
  }

  @Test(
    "a full /dev/shm is nothing to us", .enabled(if: canMount, reason))
  func sharedMemory() throws {
    let result = try run(
      "size=8m",
      """
      mount -t tmpfs -o size=4k none /dev/shm && head -c 4096 /dev/zero > /dev/shm/full
      "$2" record -o "$1/data" "$3" 1000; echo "status $?"
      """)
    #expect(result.output == "1000\nstatus 3\n")
    #expect(result.standardError.hasSuffix(", 0 lost\n"))
    #expect(result.standardError.split(separator: "\n").count == 1)
  }
}
