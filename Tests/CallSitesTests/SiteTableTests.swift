// SPDX-License-Identifier: Apache-2.0

import CallSites
import MachineCode
import TestSupport
import Testing

@Suite struct SiteTableTests {
  @Test("a call site takes 16 bytes")
  func siteSize() {
    #expect(MemoryLayout<CallSite>.size == 16)
    #expect(MemoryLayout<CallSite>.stride == 16)
  }

  @Test(
    "every site's bytes decode to its form and target", arguments: FormRow.calls + FormRow.patchable
  )
  func bytesDecodeToTheTarget(row: FormRow) throws {
    let decoder = try Decoder()
    let table = try SiteTable.discover(path: row.fixture.build(), decoder: decoder)
    for site in table.sites {
      let bytes = table.originalBytes(of: site)
      #expect(bytes.count == site.length)
      var copied: (UInt8, UInt8, UInt8, UInt8, UInt8, UInt8) = (1, 1, 1, 1, 1, 1)
      #expect(table.copyOriginalBytes(of: site, into: &copied))
      let six = [copied.0, copied.1, copied.2, copied.3, copied.4, copied.5]
      #expect(six == bytes + [UInt8](repeating: 0, count: 6 - bytes.count))
      let instruction = bytes.withUnsafeBytes { decoder.decode($0, at: site.offset) }
      #expect(instruction?.length == (site.form == .nop1x5 ? 1 : site.length))
      #expect(instruction?.target == table.target(of: site))
      if site.kind != .patchable {
        #expect(table.mcountEntries.contains { $0.address == table.target(of: site) })
      }
    }
  }

  @Test("gcc's -mnop-mcount leaves nops, listed by __mcount_loc", arguments: ["", " -mfentry"])
  func recordedNops(flag: String) throws {
    let row = FormRow(
      .gcc, "-O2 -pg -fno-pic -mrecord-mcount -mnop-mcount" + flag, as: .executable, [.nop5],
      flag.isEmpty ? .mcount : .fentry)
    let table = try DiscoveryTests.discover(row.fixture.build())
    let expected = try ObjectFacts(object: row.fixture.buildObject()).listed(in: "__mcount_loc")
    #expect(expected.count == FixtureSource.instrumented.count)
    #expect(DiscoveryTests.places(table).sorted() == expected.sorted())
    #expect(table.sites.allSatisfy { $0.form == .nop5 && $0.kind == row.kind })
    #expect(table.sites.allSatisfy { table.target(of: $0) == 0 })
  }

  @Test("text relocations are reported: -mrecord-mcount with -fPIC brings them")
  func textRelocations() throws {
    let with = Fixture(.gcc, ["-O2", "-pg", "-mrecord-mcount"])
    let without = Fixture(.gcc, ["-O2", "-pg"])
    #expect(try DiscoveryTests.discover(with.build()).hasTextRelocations)
    #expect(try !DiscoveryTests.discover(without.build()).hasTextRelocations)
  }

  @Test("mcount and __fentry__ in one file are distinguished")
  func mixedKinds() throws {
    let source = """
      __attribute__((noinline)) int f(int a) { return a + 1; }
      __asm__(".globl g\\n.type g, @function\\ng: .cfi_startproc\\n call __fentry__@PLT\\n ret\\n"
              ".cfi_endproc\\n.size g, .-g\\n");
      """
    let fixture = Fixture(.gcc, ["-O2", "-pg"], link: ["-nostdlib"], source: source)
    let table = try DiscoveryTests.discover(fixture.build())
    #expect(Set(table.sites.map(\.kind)) == [.mcount, .fentry])
    #expect(Set(table.sites.map(\.form)) == [.ff15, .e8])
  }

  @Test("an object file is refused: its calls are not settled yet")
  func objectFilesAreRefused() throws {
    let object = try Fixture(.gcc, ["-O2", "-pg"]).buildObject()
    #expect {
      _ = try DiscoveryTests.discover(object)
    } throws: { error in
      "\(error)" == "\(object): expected an executable or shared object, found an object file: "
        + "link it first"
    }
  }
}
