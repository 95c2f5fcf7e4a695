// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// Programs that a recorded program starts: each is in the recording, or is said to be missing, and
/// why.
@Suite struct MissingTests {
  private func start(_ how: String, _ child: String) throws -> TracedRun {
    let program = try Program(source: "starts.c").build()
    let alone = try runChild(program, [how, child])
    let traced = try TracedRun(program, [how, child])
    #expect(traced.result.ending == alone.ending)
    #expect(traced.result.output == alone.output)
    #expect(alone.ending == .exit(3))
    #expect(traced.calls["parent_work"] == 1)
    return traced
  }

  private func missing(_ traced: TracedRun) throws -> [[String: Any]] {
    let info = try runNopscope(["info", "--json", traced.folder])
    return try #require(try jsonObject(info.standardOutput)["missing"] as? [[String: Any]])
  }

  @Test(
    "A program that is started with an environment of its own is recorded",
    arguments: [
      "execve", "execle", "execvpe", "fexecve", "execveat", "vfork", "preload", "many", "clearenv",
      "execl", "execlp", "execvp", "spawn", "spawnp", "system", "popen",
    ])
  func environments(how: String) throws {
    let traced = try start(how, Program(source: "started.c").build())
    #expect(traced.calls["child_work"] == 1)
    #expect(try missing(traced).isEmpty)
    #expect(traced.result.standardError.hasSuffix(", 0 lost\n"), "\(traced.result.standardError)")
  }

  @Test(
    "An exec that fails is what it is alone, and nobody is missing",
    arguments: ["failing", "fault"])
  func failing(how: String) throws {
    let traced = try start(how, Program(source: "started.c").build())
    #expect(try missing(traced).isEmpty)
    #expect(traced.result.standardError.hasSuffix(", 0 lost\n"), "\(traced.result.standardError)")
  }

  /// Checks that one process is missing, in every place where that is said.
  private func expectMissing(_ traced: TracedRun, _ program: String, _ reason: String) throws {
    #expect(traced.calls["child_work"] == nil)
    let missing = try missing(traced)
    #expect(missing.count == 1)
    #expect(missing.first?["program"] as? String == program)
    #expect((missing.first?["reason"] as? String)?.contains(reason) == true, "\(missing)")
    let pid = try #require(missing.first?["pid"] as? Int)
    let lines = traced.result.standardError.split(separator: "\n")
    let line = "nopscope: process \(pid) (\(program)) is not recorded: "
    #expect(lines.contains { $0.hasPrefix(line) && $0.contains(reason) }, "\(lines)")
    #expect(lines.last?.hasSuffix(" lost, 1 process missing (nopscope info)") == true, "\(lines)")
    let report = try runNopscope(["report", traced.folder])
    #expect(report.standardError.hasSuffix("; 0 events lost, 1 process missing (nopscope info)\n"))
    let info = try runNopscope(["info", traced.folder])
    #expect(info.output.contains("missing   process \(pid) \(program): "))
  }

  @Test("A program that the agent cannot be loaded into is named", arguments: ["execve", "spawn"])
  func isStatic(how: String) throws {
    let child = try Program(source: "started.c", extra: ["-static", "-DSTATIC"]).build()
    try expectMissing(start(how, child), child, "statically linked")
  }

  @Test("An environment that names another recorder is left alone, and that is said")
  func another() throws {
    let child = try Program(source: "started.c").build()
    try expectMissing(start("another", child), child, "its environment names another recorder")
  }

  @Test(
    "A program with more privilege is named",
    .enabled(if: geteuid() == 0, "only root may make one"))
  func isPrivileged() throws {
    let child = try TemporaryFolder.shared.fresh("privileged") + "/child"
    try ProgramFile.copy(Program(source: "started.c").build(), to: child)
    #expect(chown(child, 65534, 65534) == 0 && chmod(child, 0o4755) == 0)
    for part in [TemporaryFolder.shared.path, (child as NSString).deletingLastPathComponent] {
      chmod(part, 0o755)
    }
    try expectMissing(start("execve", child), child, "setuid, runs as user 65534")
  }

  @Test(
    "A program that begins as another user is named",
    .enabled(if: geteuid() == 0, "only root may become another user"))
  func anotherUser() throws {
    let child = try TemporaryFolder.shared.fresh("user") + "/child"
    try ProgramFile.copy(Program(source: "started.c").build(), to: child)
    for part in [TemporaryFolder.shared.path, (child as NSString).deletingLastPathComponent] {
      chmod(part, 0o755)
    }
    chmod(child, 0o755)
    try expectMissing(start("user", child), child, "Permission denied: it runs as another user")
  }

  @Test(
    "A forked child that has dropped its user, its root directory and its descriptors is recorded",
    .enabled(if: geteuid() == 0, "only root may do either"), arguments: ["user", "root"])
  func drops(how: String) throws {
    let program = try Fixture(
      .gcc, ["-O1", "-pg"], as: .positionIndependentExecutable,
      source: """
        #include <string.h>
        #include <sys/wait.h>
        #include <unistd.h>
        __attribute__((noinline)) int work(int i) { __asm__ volatile(""); return i + 1; }
        int main(int count, char **arguments) {
          if (fork() == 0) {
            int failed = strcmp(arguments[1], "user") ? chroot("/proc") : setresuid(65534, 65534, 65534);
            if (failed) _exit(1);
            for (int i = 0; i < 1024; i++) close(i);
            for (int i = 0; i < 10; i++) work(i);
            _exit(0);
          }
          int status = 1;
          wait(&status);
          return status ? 1 : work(2);
        }
        """
    ).build()
    let traced = try TracedRun(program, [how])
    #expect(traced.result.ending == .exit(3))
    #expect(traced.calls["work"] == 11)
    #expect(try missing(traced).isEmpty)
    #expect(traced.result.standardError.hasSuffix(", 0 lost\n"), "\(traced.result.standardError)")
  }
}
