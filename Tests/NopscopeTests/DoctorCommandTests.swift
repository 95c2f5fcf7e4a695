// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// `nopscope doctor`, as a user runs it.
@Suite struct DoctorCommandTests {
  @Test("of the machine alone: the documented keys, and what is probed is true here")
  func machine() throws {
    let result = try runNopscope(["doctor", "--json"])
    #expect(result.ending == .exit(0))
    let document = try jsonObject(result.standardOutput)
    #expect(document["schema"] as? String == "nopscope.doctor/1")
    let writers = try #require(document["writers"] as? [[String: Any]])
    #expect(writers.compactMap { $0["name"] as? String } == ["mprotect", "/proc/self/mem"])
    #expect(writers.contains { $0["usable"] as? Bool == true })
    #expect((document["protocols"] as? [String])?.first == "stop-machine")
    #expect((document["ticksPerSecond"] as? Double ?? 0) > 1e8)
    let text = try runNopscope(["doctor"])
    #expect(text.output.contains("writing text with mprotect"))
    let opens = try #require(document["opensText"] as? Bool)
    #expect(opens == (writers.first?["usable"] as? Bool))
    #expect(
      text.output.contains(
        opens
          ? "text is writable and executable while a transaction writes it with mprotect, and at no "
            + "other time" : "no executable memory is ever writable"))
    for line in text.output.split(separator: "\n") {
      #expect(["yes  ", "no   ", "note "].contains(String(line.prefix(5))))
    }
  }

  @Test(
    "of a program: its form and its sites, and why its libraries have none",
    arguments: [
      (Fixture(.gcc, ["-O2", "-pg"], as: .positionIndependentExecutable), "mcount"),
      (Fixture(.gcc, ["-O2", "-pg", "-mfentry"], as: .positionIndependentExecutable), "fentry"),
      (
        Fixture(
          .clang, ["-O2", "-fpatchable-function-entry=5"], as: .positionIndependentExecutable),
        "patchable"
      ),
    ])
  func program(fixture: Fixture, kind: String) throws {
    let path = try fixture.build()
    let result = try runNopscope(["doctor", path, "--json"])
    #expect(result.ending == .exit(0))
    let modules = try #require(
      try jsonObject(result.standardOutput)["modules"] as? [[String: Any]])
    let own = try #require(modules.first)
    #expect(own["path"] as? String == path)
    // clang makes even a function patchable that must not be instrumented.
    let count = FixtureSource.instrumented.count + (kind == "patchable" ? 1 : 0)
    #expect(own["sites"] as? Int == count)
    #expect(own["kinds"] as? [String: Int] == [kind: count])
    #expect(own["reason"] is NSNull)
    let libc = try #require(modules.first { ($0["path"] as? String)?.contains("libc.so") == true })
    #expect((libc["reason"] as? String)?.contains("compile with -pg") == true)
  }

  @Test("of a program that cannot be traced: why not, and status 1")
  func refused() throws {
    let isStatic = try Fixture(.gcc, ["-O2", "-pg"], as: .staticExecutable).build()
    let plain = try Fixture(.gcc, ["-O2"], as: .positionIndependentExecutable).build()
    let result = try runNopscope(["doctor", isStatic])
    #expect(result.ending == .exit(1))
    #expect(result.standardError.contains("statically linked"))
    #expect(try runNopscope(["doctor", plain]).ending == .exit(1))
    #expect(try runNopscope(["doctor", "/no/such"]).ending == .exit(1))
  }
}
