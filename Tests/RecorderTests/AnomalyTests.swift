// SPDX-License-Identifier: Apache-2.0

import CRecorder
import CRecordingABI
import Foundation
import TestSupport
import Testing

@testable import Recorder

/// A deviation turns the tracer off for good in its process, and marks the recording. Its kill
/// patches nothing.
@Suite struct AnomalyTests {
  /// Loads the libraries of its arguments in turn, and calls the first one's `work` ten times
  /// before each later one is loaded and ten times after. A forked child does the same with the
  /// last one. With `threads` first, a thread calls `work` without a pause meanwhile. With
  /// `refuses` first, the system refuses mremap from then on.
  private static let program = Fixture(
    .gcc, ["-O1"], link: ["-ldl", "-pthread"], as: .positionIndependentExecutable,
    source: """
      #include <dlfcn.h>
      #include <linux/filter.h>
      #include <linux/seccomp.h>
      #include <pthread.h>
      #include <stdio.h>
      #include <string.h>
      #include <sys/prctl.h>
      #include <sys/syscall.h>
      #include <sys/wait.h>
      #include <unistd.h>
      static int (*work)(int);
      static volatile int is_over;
      static int load(const char *path) {
        void *library = dlopen(path, RTLD_NOW);
        int (*run)(int) = library ? dlsym(library, "work") : NULL;
        if (!work) work = run;
        if (!run) return -1000;
        int sum = 0;
        for (int i = 0; i < 10; i++) sum += work(i);
        return sum + run(0);
      }
      static void *spin(void *unused) {
        while (!is_over) work(1);
        return unused;
      }
      static int refuse_mremap(void) {
        struct sock_filter code[] = {
          BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
          BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mremap, 0, 1),
          BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 1),
          BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog program = {sizeof code / sizeof code[0], code};
        return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
               prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
      }
      int main(int count, char **arguments) {
        int first = 1, sum = 0, status;
        pthread_t thread = 0;
        if (strcmp(arguments[1], "threads") == 0) {
          first = 2;
          sum = load(arguments[first++]);
          pthread_create(&thread, NULL, spin, NULL);
        }
        if (strcmp(arguments[1], "refuses") == 0) {
          if (refuse_mremap()) return 9;
          first = 2;
        }
        for (int i = first; i < count - 1; i++) sum += load(arguments[i]);
        pid_t child = fork();
        if (child == 0) _exit(load(arguments[count - 1]) < 0);
        waitpid(child, &status, 0);
        is_over = 1;
        if (thread) pthread_join(thread, NULL);
        printf("sum %d, child %d\\n", sum, WEXITSTATUS(status));
        return 5;
      }
      """)

  static let kinds = [
    ["-O1", "-pg"], ["-O1", "-pg", "-mfentry"], ["-O1", "-fpatchable-function-entry=5"],
  ]

  /// Four libraries with one call site each.
  private func libraries(_ kind: [String]) throws -> [String] {
    let folder = try TemporaryFolder.shared.fresh("anomaly")
    return try ["first", "changed", "later", "childs"].map { name in
      let built = try Fixture(
        .gcc, kind, source: "int work(int i) { return i + 1; } /* \(name) */"
      ).build()
      let path = "\(folder)/\(name).so"
      try ProgramFile.copy(built, to: path)
      return path
    }
  }

  /// A plan or its file, spoilt.
  struct Deviation: Sendable, CustomStringConvertible {
    var description: String
    /// As the patch core numbers them.
    var status: Int32
    var plan: @Sendable (inout [nrec_plan_entry]) -> Void = { _ in }
  }

  static let deviations = [
    Deviation(description: "other bytes", status: 5, plan: { $0[0].expected.2 ^= 1 }),
    Deviation(description: "outside of its text", status: 2, plan: { $0[0].offset += 1 << 40 }),
    Deviation(description: "a site of no bytes", status: 3, plan: { $0[0].length = 0 }),
  ]

  /// A recorder that is right about the first library and wrong about the second.
  private func recorder(_ deviation: Deviation, _ tracer: Int) throws -> FakeRecorder {
    let plans = Counter()
    return try FakeRecorder(
      .init(
        config: { config, _ in
          config.tracer = UInt32(tracer)
          return true
        },
        plan: { _, entries in
          if plans.next() == 2 { deviation.plan(&entries) }
          return true
        }))
  }

  private final class Counter: @unchecked Sendable {
    private let lock = NSLock()
    private var number = 0
    var count: Int { lock.withLock { number } }
    func next() -> Int {
      lock.withLock {
        number += 1
        return number
      }
    }
  }

  private func header(_ recorder: FakeRecorder) throws -> nrec_file_header {
    let bytes = try Data(contentsOf: URL(fileURLWithPath: recorder.eventFile))
    return bytes.withUnsafeBytes { $0.loadUnaligned(as: nrec_file_header.self) }
  }

  private func run(
    _ deviation: Deviation, _ libraries: [String], _ words: [String] = [],
    tracer: Int = Int(NREC_TRACER_HITS), program: Fixture = Self.program
  ) throws -> (ChildResult, FakeRecorder) {
    let recorder = try recorder(deviation, tracer)
    let result = try runChild(
      try program.build(), words + libraries,
      environment: ["LD_PRELOAD": HostileRecorderTests.agent, "NOPSCOPE_AGENT": recorder.path])
    recorder.stop()
    return (result, recorder)
  }

  @Test("the recording is marked, and nothing is patched or asked any more", arguments: deviations)
  func marked(one: Deviation) throws {
    let libraries = try libraries(Self.kinds[0])
    let (result, recorder) = try run(one, libraries)
    #expect(result.ending == .exit(5), "\(result.standardError)")
    #expect(result.output == "sum 168, child 0\n")
    #expect(recorder.applied.map(\.status) == [0, one.status])
    #expect(recorder.applied.map(\.is_off) == [0, 1])
    #expect(Set(recorder.modules).intersection(libraries) == Set(libraries[..<2]))
    // A child of a process that is off does not join.
    #expect(recorder.connected == 1 && recorder.claimed == 0)
    let flags = try header(recorder).flags
    #expect(flags & UInt32(NREC_FLAG_CORRUPTED) != 0)
    #expect(flags & UInt32(NREC_FLAG_ENDED) != 0)
  }

  @Test("sites that were armed before record nothing after it", arguments: kinds)
  func off(kind: [String]) throws {
    let (result, recorder) = try run(Self.deviations[0], try libraries(kind))
    #expect(result.output == "sum 168, child 0\n")
    // Eleven calls before the second library came.
    #expect(try header(recorder).calls == 11)
    let report = try #require(recorder.applied.last)
    #expect(report.length >= 5 && report.has_actual == 1 && report.left_changed == 0)
    #expect(report.expected.2 == report.actual.2 ^ 1 && report.expected.1 == report.actual.1)
  }

  /// Those that count: nothing but the change of their handlers ends that at once.
  static let counting = [NREC_TRACER_HITS, NREC_TRACER_CALLGRAPH, NREC_TRACER_PROFILE].map {
    Int($0)
  }

  @Test("nor where the system refuses to move memory", arguments: counting)
  func offWithoutMoves(tracer: Int) throws {
    let (result, recorder) = try run(
      Self.deviations[0], try libraries(Self.kinds[1]), ["refuses"], tracer: tracer)
    #expect(result.output == "sum 168, child 0\n", "\(result.standardError)")
    #expect(recorder.applied.map(\.is_off) == [0, 1])
    #expect(try header(recorder).calls == 11)
  }

  /// Keeps the first library's text, unloads it and loads the second one there while the agent
  /// cannot see it (as under a debugger's breakpoint on the loader's hook). The agent finds out when
  /// the third one comes. Then the old text is put back.
  private static let replacing = Fixture(
    .gcc, ["-O1"], link: ["-ldl"], as: .positionIndependentExecutable,
    source: """
      #define _GNU_SOURCE
      #include <dlfcn.h>
      #include <fcntl.h>
      #include <link.h>
      #include <stdint.h>
      #include <stdio.h>
      #include <string.h>
      #include <sys/mman.h>
      #include <unistd.h>
      static int calls(int (*work)(int)) {
        int sum = 0;
        for (int i = 0; i < 10; i++) sum += work(i);
        return sum;
      }
      int main(int count, char **arguments) {
        int memory = open("/proc/self/mem", O_RDWR);
        off_t hook = (off_t)_r_debug.r_brk;
        unsigned char jump, ret = 0xc3;
        void *library = dlopen(arguments[1], RTLD_NOW);
        int (*work)(int) = (int (*)(int))dlsym(library, "work"), sum = calls(work);
        char *page = (char *)((uintptr_t)work & ~(uintptr_t)4095);
        static char text[4096];
        memcpy(text, page, 4096);
        if (pread(memory, &jump, 1, hook) != 1 || pwrite(memory, &ret, 1, hook) != 1) return 8;
        dlclose(library);
        library = dlopen(arguments[2], RTLD_NOW);
        if (pwrite(memory, &jump, 1, hook) != 1) return 8;
        if (dlsym(library, "work") != (void *)work) return 7;
        if (!dlopen(arguments[3], RTLD_NOW)) return 6;
        mmap(page, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        memcpy(page, text, 4096);
        mprotect(page, 4096, PROT_READ | PROT_EXEC);
        printf("sum %d\\n", sum + calls(work));
        return 5;
      }
      """)

  @Test("nor does old text that another module has replaced unannounced")
  func offBehindAnother() throws {
    // -O2 aligns the function: the second library's code may run already, and only the jump guard
    // can patch it.
    let libraries = try libraries(["-O2", "-pg", "-mfentry"])
    let (result, recorder) = try run(
      Self.deviations[0], Array(libraries[..<3]), program: Self.replacing)
    #expect(result.ending == .exit(5), "\(result.standardError)")
    #expect(result.output == "sum 110\n")
    #expect(recorder.applied.map(\.is_off) == [0, 1])
    #expect(try header(recorder).calls == 10)
  }

  @Test("a thread that runs through the stubs meanwhile goes on", arguments: kinds)
  func threads(kind: [String]) throws {
    let (result, recorder) = try run(Self.deviations[0], try libraries(kind), ["threads"])
    #expect(result.ending == .exit(5), "\(result.standardError)")
    #expect(result.output == "sum 168, child 0\n")
    #expect(recorder.applied.map(\.status) == [0, Self.deviations[0].status])
  }

  @Test("what cannot be patched for a reason that is known is no anomaly")
  func explained() throws {
    // Nothing may become executable: the library is left alone, and the tracer goes on.
    let libraries = try libraries(Self.kinds[0])
    let recorder = try FakeRecorder(.init())
    let source = """
      #include <sys/prctl.h>
      #include <dlfcn.h>
      int main(int count, char **arguments) {
        prctl(65 /* PR_SET_MDWE */, 1, 0, 0, 0);
        for (int i = 1; i < count; i++) if (!dlopen(arguments[i], RTLD_NOW)) return 9;
        return 5;
      }
      """
    let program = try Fixture(
      .gcc, ["-O1"], link: ["-ldl"], as: .positionIndependentExecutable, source: source
    ).build()
    let result = try runChild(
      program, Array(libraries[..<2]),
      environment: ["LD_PRELOAD": HostileRecorderTests.agent, "NOPSCOPE_AGENT": recorder.path])
    recorder.stop()
    #expect(result.ending == .exit(5), "\(result.standardError)")
    #expect(recorder.applied.map(\.is_off) == [0, 0])
    #expect(try header(recorder).flags & UInt32(NREC_FLAG_CORRUPTED) == 0)
  }
}
