// SPDX-License-Identifier: Apache-2.0

import CallSites
import MachineCode
import TestSupport
import Testing

/// A row of the table of forms: what a compiler makes of which flags.
struct FormRow: Sendable, CustomStringConvertible {
  var fixture: Fixture
  var forms: Set<CallSite.Form>
  var kind: CallSite.Kind

  var description: String { "\(fixture)" }

  init(
    _ compiler: Fixture.Compiler, _ flags: String, link: String = "",
    as product: Fixture.Product = .sharedObject, _ forms: Set<CallSite.Form>,
    _ kind: CallSite.Kind
  ) {
    fixture = Fixture(
      compiler, flags.split(separator: " ").map(String.init),
      link: link.split(separator: " ").map(String.init), as: product)
    self.forms = forms
    self.kind = kind
  }

  static let calls: [FormRow] = [
    FormRow(.clang, "-O0 -pg", [.e8], .mcount),
    FormRow(.clang, "-O2 -pg", [.e8], .mcount),
    FormRow(.clang, "-O2 -pg -mfentry", [.e8], .fentry),
    FormRow(.clang, "-O0 -pg -mfentry -fcf-protection", [.e8], .fentry),
    FormRow(.clang, "-O2 -pg", as: .executable, [.e8], .mcount),
    FormRow(.clang, "-O2 -pg", as: .positionIndependentExecutable, [.e8], .mcount),
    FormRow(.clang, "-O2 -pg", link: "-Wl,-z,now", [.e8], .mcount),
    FormRow(.gcc, "-O0 -pg", [.ff15], .mcount),
    FormRow(.gcc, "-O2 -pg", [.ff15], .mcount),
    FormRow(.gcc, "-O2 -pg -fcf-protection", [.ff15], .mcount),
    FormRow(.gcc, "-O2 -pg", link: "-Wl,-z,now", [.ff15], .mcount),
    FormRow(.gcc, "-O2 -pg -mfentry", [.ff15], .fentry),
    FormRow(.gcc, "-O2 -pg -mfentry -fcf-protection", [.ff15], .fentry),
    FormRow(.gcc, "-O2 -pg", as: .positionIndependentExecutable, [.ff15], .mcount),
    FormRow(.gcc, "-O0 -pg", as: .executable, [.e8], .mcount),
    FormRow(.gcc, "-O2 -pg -fno-pic", as: .executable, [.e8], .mcount),
    FormRow(.gcc, "-O2 -pg -fno-pic -mfentry", as: .executable, [.e8], .fentry),
    FormRow(.gcc, "-O2 -pg -fno-pic -mfentry -fcf-protection", as: .executable, [.e8], .fentry),
    FormRow(.gcc, "-O2 -pg -fno-pic", as: .staticExecutable, [.e8], .mcount),
    FormRow(.gcc, "-O2 -pg -fPIC -mfentry", as: .staticExecutable, [.addr32e8], .fentry),
    FormRow(
      .gcc, "-O2 -pg -fPIC", link: "-Wl,--no-relax", as: .staticExecutable, [.ff15], .mcount),
    FormRow(.gcc, "-O2 -pg -fno-pic", link: "-Wl,-z,ibtplt", as: .executable, [.e8], .mcount),
    FormRow(.gcc, "-O2 -pg -mrecord-mcount", [.ff15], .mcount),
    FormRow(.gcc, "-O2 -pg -fno-pic -mrecord-mcount", as: .executable, [.e8], .mcount),
  ]

  static let lld: [FormRow] =
    Tools.hasLLD
    ? [
      FormRow(.clang, "-O2 -pg", link: "-fuse-ld=lld", [.e8], .mcount),
      FormRow(.clang, "-O2 -pg -mfentry", link: "-fuse-ld=lld -Wl,-z,now", [.e8], .fentry),
      FormRow(.clang, "-O2 -pg", link: "-fuse-ld=lld", as: .executable, [.e8], .mcount),
    ] : []

  static let patchable: [FormRow] = [
    FormRow(.gcc, "-O0 -fpatchable-function-entry=5", [.nop1x5], .patchable),
    FormRow(.gcc, "-O2 -fpatchable-function-entry=5", [.nop1x5], .patchable),
    FormRow(.gcc, "-O2 -fpatchable-function-entry=8", [.nop1x5], .patchable),
    FormRow(.gcc, "-O2 -fpatchable-function-entry=7,2", [.nop1x5], .patchable),
    FormRow(.gcc, "-O2 -fpatchable-function-entry=5 -fcf-protection", [.nop1x5], .patchable),
    FormRow(.gcc, "-O2 -fpatchable-function-entry=7,2 -fcf-protection", [.nop1x5], .patchable),
    FormRow(.gcc, "-O2 -fpatchable-function-entry=5", as: .executable, [.nop1x5], .patchable),
    FormRow(.clang, "-O0 -fpatchable-function-entry=5", [.nop5], .patchable),
    FormRow(.clang, "-O2 -fpatchable-function-entry=5", [.nop5], .patchable),
    FormRow(.clang, "-O2 -fpatchable-function-entry=6", [.nop6], .patchable),
    FormRow(.clang, "-O2 -fpatchable-function-entry=7,2", [.nop5], .patchable),
    FormRow(.clang, "-O2 -fpatchable-function-entry=5 -fcf-protection", [.nop5], .patchable),
    FormRow(.clang, "-O2 -fpatchable-function-entry=5", as: .executable, [.nop5], .patchable),
  ]
}

@Suite struct DiscoveryTests {
  static func discover(_ path: String) throws -> SiteTable {
    try SiteTable.discover(path: path, decoder: Decoder())
  }

  static func places(_ table: SiteTable) -> [FunctionPlace] {
    table.sites.map {
      FunctionPlace(function: table.functionName(of: $0) ?? "?", offset: UInt64($0.functionOffset))
    }
  }

  /// The sites of functions that the fixture's own object defines: a static executable has the C
  /// library's as well.
  static func own(_ table: SiteTable) -> [CallSite] {
    table.sites.filter {
      table.functionName(of: $0).map(FixtureSource.instrumented.contains) ?? false
    }
  }

  @Test(
    "every call that the compiler left to the linker is found, and no other",
    arguments: FormRow.calls + FormRow.lld)
  func callsAreComplete(row: FormRow) throws {
    let expected = try ObjectFacts(object: row.fixture.buildObject()).mcountCalls()
    #expect(Set(expected.map(\.function)) == FixtureSource.instrumented)
    let table = try Self.discover(row.fixture.build())
    #expect(Self.places(table).sorted() == expected.sorted())
    #expect(table.skipped.isEmpty)
    for site in table.sites {
      #expect(row.forms.contains(site.form), "\(site)")
      #expect(site.kind == row.kind, "\(site)")
    }
  }

  @Test("every patchable entry is found, and no other", arguments: FormRow.patchable)
  func patchableEntriesAreComplete(row: FormRow) throws {
    let table = try Self.discover(row.fixture.build())
    let facts = try ObjectFacts(object: row.fixture.buildObject())
    let listed = facts.relocations.filter { $0.section == "__patchable_function_entries" }
    let all = FixtureSource.instrumented.union(["untouched"])
    #expect(listed.count == all.count)
    #expect(table.sites.count == all.count)
    #expect(Set(Self.places(table).map(\.function)) == all)
    if !row.fixture.compile.contains(where: { $0.contains(",") }) {
      let expected = facts.listed(in: "__patchable_function_entries")
      #expect(Self.places(table).sorted() == expected.sorted())
    }
    #expect(table.skipped.isEmpty)
    for site in table.sites {
      #expect(row.forms.contains(site.form), "\(site)")
      #expect(site.kind == .patchable)
      #expect(site.functionOffset == 0 || site.functionOffset == 4)
    }
  }
}
