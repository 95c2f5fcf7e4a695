// SPDX-License-Identifier: Apache-2.0

import CRecorder
import CRecordingABI
import CTestSupport
import ELFImage
import Foundation
import TestSupport
import Testing
import Units

@testable import Recorder

/// A recorder with wrong plans: the agent writes only what the program's own bytes confirm, and
/// the program behaves as it does alone.
@Suite struct HostileRecorderTests {
  static let fixture = Fixture(
    .gcc, ["-O1", "-pg"], as: .positionIndependentExecutable,
    source: """
      #include <stdio.h>
      __attribute__((noinline)) int twice(int a) { return 2 * a; }
      __attribute__((noinline)) int thrice(int a) { return 3 * a; }
      int main(void) {
        int sum = 0;
        for (int i = 0; i < 100; i++) sum += twice(i) + thrice(i);
        printf("sum %d\\n", sum);
        return 5;
      }
      """)

  struct Case: Sendable, CustomStringConvertible {
    var description: String
    /// NPC_* of the one plan with sites; nil: nothing is said of it.
    var status: Int32?
    var answers: FakeRecorder.Answers
  }

  private static func plan(
    _ name: String, _ status: Int32?,
    _ spoil: @escaping @Sendable (inout nrec_plan_message, inout [nrec_plan_entry]) -> Bool
  ) -> Case {
    Case(description: name, status: status, answers: .init(plan: spoil))
  }

  private static func config(
    _ name: String, _ status: Int32?,
    _ spoil: @escaping @Sendable (inout nrec_config, inout [Int32]) -> Bool
  ) -> Case {
    Case(description: name, status: status, answers: .init(config: spoil))
  }

  /// As the patch core numbers them.
  enum Status {
    static let outsideText: Int32 = 2
    static let badPoke: Int32 = 3
    static let mismatch: Int32 = 5
    static let unconfirmed: Int32 = 6
  }

  static let cases: [Case] = [
    Case(description: "the truth", status: 0, answers: .init()),
    Case(
      description: "the truth, behind what came too late", status: 0,
      answers: .init(isPrecededByOlder: true)),
    plan("a site outside of the module", Status.outsideText) { _, entries in
      entries[entries.count - 1].offset += 1 << 40
      return true
    },
    plan("a site in its data", Status.outsideText) { _, entries in
      entries[entries.count - 1].offset += 0x2000
      return true
    },
    plan("other bytes", Status.mismatch) { _, entries in
      entries[1].expected.2 ^= 1
      return true
    },
    plan("the right bytes of no call site", Status.unconfirmed) { _, entries in
      guard let bytes = bytesBehind(entries[0]) else { return false }
      entries[0].offset += UInt64(entries[0].length)
      entries[0].length = 5
      entries[0].expected = bytes
      return true
    },
    plan("sites in disorder", Status.badPoke) { _, entries in
      entries.swapAt(0, 1)
      return true
    },
    plan("one site twice", Status.badPoke) { _, entries in
      entries[1].offset = entries[0].offset
      return true
    },
    plan("a site of no bytes", Status.badPoke) { _, entries in
      entries[0].length = 0
      return true
    },
    plan("a site of 255 bytes", Status.badPoke) { _, entries in
      entries[0].length = 255
      return true
    },
    plan("a function of another module", Status.badPoke) { _, entries in
      entries[0].function = .max
      return true
    },
    plan("more sites than were sent", Status.badPoke) { message, _ in
      message.count = .max
      return true
    },
    plan("another generation", nil) { message, _ in
      message.generation += 1
      return true
    },
    plan("another message", nil) { message, _ in
      message.message = UInt32(NREC_MESSAGE_CONFIG)
      return true
    },
    plan("silence", nil) { _, _ in false },
    config("no answer to HELLO", nil) { _, _ in false },
    config("another version", nil) { config, _ in
      config.version += 1
      return true
    },
    config("no such tracer", 0) { config, _ in
      config.tracer = 99
      return true
    },
    config("no files", nil) { _, files in
      files = []
      return true
    },
    config("an arena that is short", nil) { _, files in
      files[0] = nrc_memory_file([1, 2, 3], 3)
      return true
    },
    config("an arena that could become shorter", nil) { _, files in
      files[0] = cts_unsealed_file(1 << 24)
      return true
    },
    config("an arena that is no file", nil) { _, files in
      files[0] = open("/dev/null", O_RDWR | O_CLOEXEC)
      return true
    },
    config("a place that there is not", nil) { config, _ in
      config.place = UInt32(NREC_ARENA_PROCESSES)
      return true
    },
    config("a flight recorder of all memory", 0) { config, _ in
      config.flags = UInt32(NREC_FLAG_OVERWRITE)
      config.overwrite_bytes = .max
      return true
    },
  ]

  /// Five bytes of the file behind a site.
  private static func bytesBehind(
    _ entry: nrec_plan_entry
  ) -> (UInt8, UInt8, UInt8, UInt8, UInt8, UInt8)? {
    guard let path = try? fixture.build(), let image = try? ELFImage(path: path),
      let at = image.fileOffset(
        ofAddress: ModuleOffset(entry.offset) + UInt64(entry.length), size: 5),
      let file = try? Data(contentsOf: URL(fileURLWithPath: path))
    else { return nil }
    let bytes = [UInt8](file[at..<(at + 5)])
    return (bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], 0)
  }

  static let agent = Tools.productFolder + "/libNopscopeAgent.so"

  @Test("the program is none the worse", arguments: cases)
  func lies(one: Case) throws {
    let program = try Self.fixture.build()
    let recorder = try FakeRecorder(one.answers)
    let result = try runChild(
      program, environment: ["LD_PRELOAD": Self.agent, "NOPSCOPE_AGENT": recorder.path])
    recorder.stop()
    #expect(result.ending == .exit(5))
    #expect(result.output == "sum 24750\n")
    #expect(result.standardError == "")
    #expect(recorder.connected == 1)
    #expect(recorder.applied.map(\.status) == (one.status.map { [$0] } ?? []))
    #expect(recorder.applied.map(\.armed) == (one.status.map { [$0 == 0 ? 3 : 0] } ?? []))
  }

  /// It may have given up every right before.
  @Test("a forked child joins without a connection, also when its parent is dead")
  func fork() throws {
    let program = try Fixture(
      .gcc, ["-O1", "-pg"], as: .positionIndependentExecutable,
      source: """
        #include <signal.h>
        #include <unistd.h>
        static volatile int calls;
        __attribute__((noinline)) void work(void) { calls++; }
        int main(void) {
          pid_t parent = getpid(), child = fork();
          if (child != 0) return kill(getpid(), SIGKILL);
          while (getppid() == parent) usleep(1000);
          for (int i = 0; i < 256; i++) close(i);
          work();
          _exit(0);
        }
        """
    ).build()
    let recorder = try FakeRecorder(.init())
    let result = try runChild(
      program, environment: ["LD_PRELOAD": Self.agent, "NOPSCOPE_AGENT": recorder.path])
    while recorder.claimed == 0 { usleep(1000) }
    recorder.stop()
    #expect(result.ending == .signal(SIGKILL))
    #expect(recorder.connected == 1)
    #expect(recorder.claimed == 1)
  }

  @Test("what is no socket of a recorder is left alone")
  func garbage() throws {
    let program = try Self.fixture.build()
    let folder = try TemporaryFolder.shared.fresh("garbage")
    try Data("x".utf8).write(to: URL(fileURLWithPath: folder + "/file"))
    let cut = folder + "/" + String(repeating: "a", count: 106 - folder.utf8.count)
    let listener = Descriptor(nrc_listen(cut))
    try #require(listener.number >= 0)
    let values = [
      "", "/", "/no/such/socket", folder, folder + "/file", "relative", "\u{1b}[31m\n", cut + "bc",
      String(repeating: "/long", count: 1000),
    ]
    for value in values {
      let result = try runChild(
        program, environment: ["LD_PRELOAD": Self.agent, "NOPSCOPE_AGENT": value])
      #expect(result.ending == .exit(5), "\(value)")
      #expect(result.output == "sum 24750\n")
      #expect(result.standardError == "")
    }
    // A path that is too long is not cut to another's.
    #expect(nrc_accept(listener.number) == -1)
  }

  /// Who has more privilege than its caller trusts nothing in its environment, however the agent
  /// came in: here the program itself needs it.
  @Test(
    "a setuid program asks nobody",
    .enabled(if: geteuid() == 0, "only root may give files away"))
  func privileges() throws {
    let folder = try TemporaryFolder.shared.fresh("setuid")
    for part in [TemporaryFolder.shared.path, folder] { #expect(chmod(part, 0o755) == 0) }
    let source = try String(contentsOfFile: Self.fixture.build().dropLast(3) + "c", encoding: .utf8)
    let agent = folder + "/agent.so"
    try ProgramFile.copy(Self.agent, to: agent)
    let program = folder + "/program"
    try source.write(toFile: program + ".c", atomically: false, encoding: .utf8)
    try Tools.run("gcc", ["-O1", "-pg", program + ".c", agent, "-o", program])
    #expect(chown(program, 65534, 65534) == 0)
    for (mode, expected) in [(mode_t(0o755), 1), (0o4755, 0), (0o2755, 0)] {
      #expect(chmod(program, mode) == 0)
      let recorder = try FakeRecorder(.init())
      let result = try runChild(program, environment: ["NOPSCOPE_AGENT": recorder.path])
      recorder.stop()
      #expect(result.ending == .exit(5))
      #expect(recorder.connected == expected, "mode \(String(mode, radix: 8))")
    }
  }

  @Test(
    "another user's socket is left at once",
    .enabled(if: geteuid() == 0, "only root can be two users"))
  func anotherUser() async throws {
    let program = try Self.fixture.build()
    let agent = Self.agent
    await #expect(processExitsWith: .success) {
      [program = program as String, agent = agent as String] in
      for (user, count) in [(uid_t(65534), 0), (0, 1)] {
        let recorder = try FakeRecorder(.init(), user: user)
        let result = try runChild(
          program, environment: ["LD_PRELOAD": agent, "NOPSCOPE_AGENT": recorder.path])
        recorder.stop()
        #expect(result.ending == .exit(5))
        #expect(recorder.applied.count == count)
      }
    }
  }
}
