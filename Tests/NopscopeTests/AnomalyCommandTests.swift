// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// What a user sees when the tracer found an anomaly.
@Suite struct AnomalyCommandTests {
  /// Before any constructor runs, and so before the agent does, the resolver of `chosen` writes a
  /// nop of five bytes over the five nops that `changed` begins with.
  private static let library = """
    #include <stdint.h>
    #define PLAIN __attribute__((patchable_function_entry(0)))
    int changed(int i) { return i + 1; }
    PLAIN static int one(int i) { return i; }
    PLAIN static long protect(void *page, long flags) {
      long result;
      register long bytes __asm__("rsi") = 8192;
      __asm__ volatile("syscall" : "=a"(result)
        : "a"(10L), "D"(page), "r"(bytes), "d"(flags) : "rcx", "r11", "memory");
      return result;
    }
    PLAIN static void *resolve(void) {
      static const unsigned char nop[] = {0x0f, 0x1f, 0x44, 0, 0};
      volatile unsigned char *at = (volatile unsigned char *)changed;
      void *page = (void *)((uintptr_t)at & ~(uintptr_t)4095);
      if (protect(page, 7) == 0)
        for (int i = 0; i < 5; i++) at[i] = nop[i];
      return protect(page, 5) == 0 ? (void *)one : 0;
    }
    __attribute__((visibility("default"), ifunc("resolve"))) int chosen(int i);
    """
  private static let source = """
    #include <stdio.h>
    int changed(int i);
    int chosen(int i);
    __attribute__((noinline)) int own(int i) { __asm__ volatile(""); return i; }
    int main(void) {
      int sum = 0;
      for (int i = 0; i < 10; i++) sum += own(i) + changed(i) + chosen(i);
      printf("sum %d\\n", sum);
      return 5;
    }
    """

  /// The program, with the library beside it.
  private func build() throws -> String {
    let library = try Fixture(
      .gcc, ["-O1", "-fpatchable-function-entry=5"],
      link: ["-Wl,-Bsymbolic"], source: Self.library
    ).build()
    let folder = (library as NSString).deletingLastPathComponent
    return try Fixture(
      .gcc, ["-O1", "-pg"],
      link: ["-Wl,-z,now", "-Wl,-rpath,\(folder)", "-Wl,--no-as-needed", library],
      as: .positionIndependentExecutable, source: Self.source
    ).build()
  }

  @Test("text that is not its file's: the full report, the tracer off, the recording marked")
  func changedText() throws {
    let program = try build()
    #expect(try runChild(program).output == "sum 145\n")
    let data = try TemporaryFolder.shared.fresh("anomaly") + "/data"
    let result = try runNopscope(["record", "--tracer", "hits", "-o", data, program])
    #expect(result.ending == .exit(5))
    #expect(result.output == "sum 145\n")
    let report =
      "when it was verified: expected 90 90 90 90 90, found 0f 1f 44 00 00: "
      + "the tracer is off in this process, and patches nothing more"
    #expect(result.standardError.contains("the bytes are not the file's, at 0x"))
    #expect(result.standardError.contains(report))
    #expect(result.standardError.contains("an anomaly turned the tracer off: nopscope info"))
    let text = try runNopscope(["info", data])
    #expect(text.ending == .exit(0))
    let line = try #require(text.output.split(separator: "\n").first { $0.hasPrefix("process") })
    #expect(line.contains("\(program): "))
    #expect(line.contains("stopped by an anomaly: /"))
    #expect(line.contains("a.out: the bytes are not the file's, at 0x"))
    #expect(line.contains("\(report): events may be missing"))
    let document = try jsonObject(try runNopscope(["info", data, "--json"]).standardOutput)
    let process = try #require((document["processes"] as? [[String: Any]])?.first)
    #expect((process["anomaly"] as? String)?.hasSuffix(report) == true)
    #expect(document["corrupted"] as? Bool == true)
    #expect(document["calls"] as? Int == 0)
  }

  /// The program copies its frame elsewhere and returns from there: to a trampoline, from a place
  /// that no slot and no orphaned return has. The return address is lost, and the program with it.
  @Test("an unknown return ends the program, and the recording says why")
  func unknownReturn() throws {
    let program = try Fixture(
      .gcc, ["-O1", "-pg", "-fno-omit-frame-pointer"], as: .positionIndependentExecutable,
      source: """
        static long other[512];
        // In a function of its own: one that is seen to read its return address is not hooked.
        __attribute__((noinline, no_instrument_function)) long second(const long *words) {
          return words[1];
        }
        __attribute__((noinline)) void copied(void) {
          long *frame = __builtin_frame_address(0);
          other[256] = second(frame);
          __asm__ volatile("mov %0, %%rsp; ret" : : "r"(&other[256]) : "memory");
        }
        int main(void) { copied(); return 5; }
        """
    ).build()
    let data = try TemporaryFolder.shared.fresh("anomaly") + "/data"
    let result = try runNopscope(["record", "-o", data, program])
    #expect(result.ending == .signal(SIGILL))
    #expect(result.standardError.contains("an anomaly turned the tracer off: nopscope info"))
    let document = try jsonObject(try runNopscope(["info", data, "--json"]).standardOutput)
    #expect(document["corrupted"] as? Bool == true)
    let why = "a function returned, and where to was not known, so that the program was ended"
    let process = try #require((document["processes"] as? [[String: Any]])?.first)
    #expect(process["anomaly"] as? String == why)
    #expect(
      try runNopscope(["info", data]).output.contains(
        "stopped by an anomaly: \(why): events may be missing"))
  }
}
