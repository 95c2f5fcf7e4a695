// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// Children that begin when the program that started them has ended: as every daemon does.
@Suite struct OrphanTests {
  private static let source = """
    #include <signal.h>
    #include <spawn.h>
    #include <sys/syscall.h>
    #include <unistd.h>
    extern char **environ;
    static volatile int one = 1;
    __attribute__((noinline)) int work(int v) { return v + one; }
    __attribute__((no_instrument_function)) static void child(void) {
      for (int i = 0; i < 10; i++) work(i);
      _exit(0);
    }
    __attribute__((no_instrument_function)) int main(int count, char **words) {
      char *again[] = {words[0], "again", 0};
      pid_t id;
      work(1);
      switch (count > 1 ? words[1][0] : 0) {
        case 'f': if (fork() == 0) child(); break;
        case 'r': if (syscall(SYS_fork) == 0) child(); break;
        case 's': return posix_spawn(&id, words[0], 0, 0, again, environ);
        default: child();
      }
      return kill(getpid(), SIGKILL);
    }
    """

  private static func build() throws -> String {
    try Fixture(.gcc, ["-O2", "-pg"], as: .positionIndependentExecutable, source: source).build()
  }

  @Test("what an orphan calls is recorded", arguments: ["fork", "raw fork", "spawn"])
  func orphans(way: String) throws {
    let program = try Self.build()
    let cache = try TemporaryFolder.shared.fresh("xdg")
    // Each is a race that was lost in one of three to five runs.
    for _ in 0..<20 {
      let data = try TemporaryFolder.shared.fresh("orphan") + "/data"
      let result = try runNopscope(
        ["record", "-o", data, program, way], environment: ["XDG_CACHE_HOME": cache])
      #expect(result.ending == (way == "spawn" ? .exit(0) : .signal(SIGKILL)))
      let report = try jsonObject(runNopscope(["report", "--json", data]).standardOutput)
      let functions = try #require(report["functions"] as? [[String: Any]])
      let calls = functions.filter { $0["function"] as? String == "work" }
        .compactMap { $0["calls"] as? Int }
      #expect(calls == [way == "spawn" ? 12 : 11])
    }
  }

  @Test("a child that never says a word is waited for once")
  func silent() throws {
    let data = try TemporaryFolder.shared.fresh("silent") + "/data"
    // Without libc there is no agent; it outlives the program.
    let still = try Fixture(
      .gcc, ["-O1", "-fcf-protection=none"], as: .staticExecutable,
      source: """
        #include <unistd.h>
        int main(void) { close(0); close(1); close(2); return (int)sleep(600); }
        """
    ).build()
    let program = try Fixture(
      .gcc, ["-O2", "-pg"], as: .positionIndependentExecutable,
      source: """
        #include <signal.h>
        #include <spawn.h>
        #include <stdio.h>
        extern char **environ;
        int main(int count, char **words) {
          char *name[] = {words[1], 0};
          pid_t id;
          int error = posix_spawn(&id, words[1], 0, 0, name, environ);
          printf("%d\\n", id);
          return error;
        }
        """
    ).build()
    let result = try runNopscope(["record", "-o", data, program, still], timeoutSeconds: 300)
    #expect(result.ending == .exit(0))
    let child = try #require(
      pid_t(String(decoding: result.standardOutput, as: UTF8.self).dropLast()))
    #expect(kill(child, SIGKILL) == 0, "it lived on")
  }
}
