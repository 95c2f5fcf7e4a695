// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// Without the library of trampolines no return is hooked: that is said.
@Suite struct MissingTrampolinesTests {
  /// A folder with nopscope and the agent alone.
  private func install() throws -> String {
    let folder = try TemporaryFolder.shared.fresh("installed")
    for name in ["nopscope", "libNopscopeAgent.so"] {
      try ProgramFile.copy("\(Tools.productFolder)/\(name)", to: "\(folder)/\(name)")
    }
    return folder
  }

  @Test("doctor and record say that they are missing, where a tracer needs them")
  func missing() throws {
    let folder = try install()
    let doctor = try runChild(folder + "/nopscope", ["doctor"])
    #expect(doctor.output.contains("yes  agent: \(folder)/libNopscopeAgent.so\n"))
    #expect(doctor.output.contains("no   trampolines: libNopscopeTrampolines.so is not beside"))
    let document = try jsonObject(
      try runChild(folder + "/nopscope", ["doctor", "--json"]).standardOutput)
    #expect(document["trampolines"] is NSNull)
    let program = try Fixture(.gcc, ["-O1", "-pg"], as: .positionIndependentExecutable).build()
    for (tracer, isSaid) in [
      ("function_graph", true), ("profile", true), ("callgraph", false), ("function", false),
      ("hits", false),
    ] {
      let result = try runChild(
        folder + "/nopscope",
        ["record", "--tracer", tracer, "-o", "\(folder)/\(tracer).data", program])
      let lines = result.standardError.split(separator: "\n").filter {
        $0.contains("libNopscopeTrampolines.so: expected it beside")
      }
      #expect(lines.count == (isSaid ? 1 : 0), "\(tracer): \(result.standardError)")
    }
  }

  @Test("nothing is said where they are there")
  func there() throws {
    let doctor = try runNopscope(["doctor"])
    #expect(doctor.output.contains("yes  trampolines: "))
    let document = try jsonObject(try runNopscope(["doctor", "--json"]).standardOutput)
    #expect((document["trampolines"] as? String)?.hasSuffix("/libNopscopeTrampolines.so") == true)
  }
}
