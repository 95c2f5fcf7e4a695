// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// Programs with more privilege than their caller, inside a traced one.
@Suite(.enabled(if: geteuid() == 0, "only root may give files away")) struct PrivilegeTests {
  /// A copy that anybody may run, of the given mode, owned by nobody.
  private func copy(_ program: String, mode: mode_t) throws -> String {
    let folder = try TemporaryFolder.shared.fresh("privileged")
    for part in [TemporaryFolder.shared.path, folder] { #expect(chmod(part, 0o755) == 0) }
    let path = folder + "/program"
    try ProgramFile.copy(program, to: path)
    #expect(chown(path, 65534, 65534) == 0)
    #expect(chmod(path, mode) == 0)
    return path
  }

  @Test(
    "A traced shell runs a setuid or setgid program as it would alone, and that one is not traced",
    arguments: [mode_t(0o4755), 0o2755, 0o755])
  func fromShell(mode: mode_t) throws {
    let program = try copy(
      try Program(source: "privileged.c", variant: .patchable).build(), mode: mode)
    let script = "\(program); echo \"ended $?\"; \(program) | cat; exit 4"
    let plain = try runChild("/bin/sh", ["-c", script])
    let traced = try TracedRun("/bin/sh", ["-c", script])
    let isSecure = mode != 0o755
    #expect(plain.output.contains("secure \(isSecure ? 1 : 0) "))
    #expect(traced.result.ending == plain.ending)
    #expect(traced.result.output == plain.output)
    #expect(traced.calls["privileged_work"] == (isSecure ? nil : 20))
    // The closing line, and where nothing was traced, that nothing is instrumented, and a line for
    // each of the two processes.
    let lines = traced.result.standardError.split(separator: "\n")
    #expect(lines.count == (isSecure ? 4 : 1), "\(lines)")
    #expect(lines.count { $0.contains("(\(program)) is not recorded: set") } == (isSecure ? 2 : 0))
    #expect(!traced.result.standardError.contains("ld.so"))
  }
}
