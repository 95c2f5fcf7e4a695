// SPDX-License-Identifier: Apache-2.0

import CallSites
import ELFImage
import Foundation
import MachineCode
import TestSupport
import Testing

/// Files that say less about themselves than a compiler leaves in them.
@Suite struct StrippedTests {
  static let rows = [
    FormRow(.clang, "-O2 -pg", [.e8], .mcount),
    FormRow(.gcc, "-O2 -pg -mfentry -fcf-protection", [.ff15], .fentry),
    FormRow(.gcc, "-O2 -pg -fno-pic", as: .executable, [.e8], .mcount),
    FormRow(.gcc, "-O2 -fpatchable-function-entry=7,2", [.nop1x5], .patchable),
    FormRow(.clang, "-O0 -fpatchable-function-entry=5 -fcf-protection", [.nop5], .patchable),
  ]

  private func copy(_ row: FormRow, _ tool: String, _ flags: [String]) throws -> String {
    let output = try TemporaryFolder.shared.fresh("stripped") + "/a.out"
    try Tools.run(tool, flags + [try row.fixture.build(), "-o", output])
    return output
  }

  @Test(
    "a stripped file has the same sites: .eh_frame knows where functions start", arguments: rows)
  func strippedFileHasTheSameSites(row: FormRow) throws {
    let whole = try DiscoveryTests.discover(row.fixture.build())
    let stripped = try DiscoveryTests.discover(copy(row, "strip", ["-s"]))
    #expect(try stripped.image.staticSymbols() == nil)
    #expect(stripped.sites == whole.sites)
    #expect(stripped.skipped.isEmpty)
  }

  @Test("without section headers, the dynamic segment leads to the same calls")
  func noSectionHeaders() throws {
    for row in Self.rows where row.kind != .patchable {
      let path = try row.fixture.build()
      var bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
      for field in [0x28..<0x30, 0x3a..<0x40] { for index in field { bytes[index] = 0 } }
      let image = try ELFImage(bytes: ELFBytes(path: path, storage: bytes))
      #expect(image.sections.isEmpty)
      let table = try SiteTable.discover(image, decoder: Decoder())
      #expect(try table.sites == DiscoveryTests.discover(path).sites, "\(row)")
    }
  }

  @Test("calls in functions that nothing describes are skipped, with the reason")
  func unknownFunctionsAreSkipped() throws {
    let flags = ["-O2", "-pg", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables"]
    let path = try Fixture(.gcc, flags, link: ["-nostdlib"]).build()
    let output = try TemporaryFolder.shared.fresh("stripped") + "/a.out"
    try Tools.run("strip", ["-s", path, "-o", output])
    let table = try DiscoveryTests.discover(output)
    let hidden = table.skipped.filter { $0.why == .noFunctionStart }
    // The exported ones are in .dynsym; the static one is not.
    #expect(hidden.count == 1)
    #expect(table.sites.count == FixtureSource.instrumented.count - 1)
    #expect(hidden.first?.reason.contains("no function start known") == true)
  }
}
