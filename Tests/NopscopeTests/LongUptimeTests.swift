// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// A machine that has been up for days: the counter has passed 2^49 ticks.
@Suite struct LongUptimeTests {
  private static let support = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appendingPathComponent("../../CSupport").standardized.path

  /// A folder with nopscope and an agent whose clock is so many units ahead.
  private func product(unitsAhead: String) throws -> String {
    let folder = try TemporaryFolder.shared.fresh("uptime")
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    for name in ["nopscope", "libNopscopeTrampolines.so"] {
      try ProgramFile.copy(Tools.productFolder + "/" + name, to: folder + "/" + name)
    }
    let clang = try #require(Tools.findBesideSwift("clang"))
    var sources: [String] = []
    var flags = [
      "-O1", "-fPIC", "-w", "-mgeneral-regs-only", "-fvisibility=hidden", "-fno-stack-protector",
      "-shared", "-nostartfiles", "-fuse-ld=lld", "-Wl,-z,now", "-Wl,-z,initfirst",
      "-Wl,--version-script=\(Self.support)/Agent/exports.map", "-DNAG_TEST_TIME=\(unitsAhead)",
    ]
    for part in ["Agent", "CPatchCore", "CGlob", "CInstructionKinds"] {
      let path = "\(Self.support)/\(part)"
      let names = try FileManager.default.contentsOfDirectory(atPath: path)
      sources += names.filter { $0.hasSuffix(".c") || $0.hasSuffix(".S") }.map { "\(path)/\($0)" }
      flags += ["-I\(path)", "-I\(path)/include"]
    }
    flags += ["-I\(Self.support)/CRecordingABI/include", "-I\(Self.support)/Trampolines/include"]
    try Tools.run(clang, flags + sources.sorted() + ["-o", folder + "/libNopscopeAgent.so"])
    return folder
  }

  private static let program = """
    #include <time.h>
    __attribute__((noinline)) void quick(void) { __asm__ volatile(""); }
    __attribute__((noinline)) void slow(void) {
      struct timespec time = {0, 20000000};
      nanosleep(&time, 0);
    }
    int main(void) {
      for (int i = 0; i < 1000; i++) quick();
      slow();
      return 0;
    }
    """

  @Test(
    "--threshold leaves out short calls, whatever the counter is",
    .enabled(if: Tools.hasLLD, "no lld is here"),
    arguments: ["0", "0x1000000000000ull", "0xfffffff00000ull"])
  func threshold(unitsAhead: String) throws {
    let folder = try product(unitsAhead: unitsAhead)
    let built = try Fixture(
      .gcc, ["-O1", "-pg"], as: .positionIndependentExecutable, source: Self.program
    ).build()
    try ProgramFile.copy(built, to: folder + "/program")
    let result = try runChild(
      folder + "/nopscope",
      ["record", "--threshold", "5ms", "-o", folder + "/data", folder + "/program"])
    #expect(result.ending == .exit(0), "\(result.standardError)")
    let report = try jsonObject(
      try runNopscope(["report", "--json", folder + "/data"]).standardOutput)
    let rows = try #require(report["functions"] as? [[String: Any]])
    #expect(Set(rows.compactMap { $0["function"] as? String }) == ["main", "slow"])
    let slow = rows.first { $0["function"] as? String == "slow" }
    let time = slow?["totalNanoseconds"] as? Int ?? 0
    #expect(time >= 20_000_000 && time < 20_000_000_000, "\(time)")
  }
}
