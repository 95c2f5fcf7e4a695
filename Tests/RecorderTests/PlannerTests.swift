// SPDX-License-Identifier: Apache-2.0

import CRecordingABI
import CallSites
import Filters
import MachineCode
import TestSupport
import Testing

@testable import Recorder

/// Plans of what gcc and clang make.
@Suite struct PlannerTests {
  private func sites(_ fixture: Fixture) throws -> FileSites {
    let decoder = try Decoder()
    let table = try SiteTable.discover(path: fixture.build(), decoder: decoder)
    return FileSites(table, decoder: decoder)
  }

  private func plan(
    _ sites: FileSites, filter: [String] = [], graph: [String] = [], first: UInt32 = 0
  ) throws -> [String: nrec_plan_entry] {
    let filter = SiteFilter(
      filter: try filter.map { try FilterRule($0) }, graph: try graph.map { try FilterRule($0) })
    let plan = Planner(filter: filter).plan(sites, module: "/a/libfoo.so", firstFunction: first)
    var named: [String: nrec_plan_entry] = [:]
    for (entry, site) in zip(plan.entries, sites.entries) {
      named[sites.name(at: site.function)] = entry
    }
    return named
  }

  private static let afterPrologue = UInt8(NREC_SITE_AFTER_PROLOGUE)
  private static let entryOnly = UInt8(NREC_SITE_ENTRY_ONLY)

  @Test(
    "flags say where the return address is",
    arguments: [
      (Fixture(.gcc, ["-O2", "-pg"]), afterPrologue),
      (Fixture(.gcc, ["-O0", "-pg"]), afterPrologue),
      (Fixture(.clang, ["-O2", "-pg"]), afterPrologue),
      (Fixture(.clang, ["-O0", "-pg"]), afterPrologue),
      (Fixture(.gcc, ["-O2", "-pg", "-mfentry"]), UInt8(0)),
      (Fixture(.gcc, ["-O2", "-pg", "-mfentry", "-fcf-protection=branch"]), 0),
      (Fixture(.gcc, ["-O2", "-pg", "-fcf-protection=branch"]), afterPrologue),
      (Fixture(.clang, ["-O2", "-pg", "-mfentry"]), 0),
      (Fixture(.gcc, ["-O2", "-fpatchable-function-entry=5"]), UInt8(NREC_SITE_RUN_OF_NOPS)),
      (Fixture(.clang, ["-O2", "-fpatchable-function-entry=5"]), 0),
    ] as [(Fixture, UInt8)])
  func flags(fixture: Fixture, expected: UInt8) throws {
    let entries = try plan(try sites(fixture))
    #expect(Set(entries.keys).isSuperset(of: FixtureSource.instrumented))
    // gcc may realign `realigned` through r10: the next test's.
    for (name, entry) in entries where name != "realigned" {
      #expect(entry.flags == expected, "\(name)")
      #expect(entry.action == UInt8(NREC_ACTION_ARM))
    }
  }

  @Test("a stack realigned through r10 leaves no return address to hook")
  func realigned() throws {
    let source = """
      void use(char *);
      __attribute__((noinline, used)) int realigned(int n) {
        volatile int room[64] __attribute__((aligned(64)));
        char *more = __builtin_alloca(n);
        room[n & 63] = n;
        use(more);
        return room[3];
      }
      __attribute__((noinline, used)) int plain(int n) { return n + 1; }
      void use(char *p) { *p = 1; }
      """
    let fixture = Fixture(.gcc, ["-O2", "-pg"], source: source)
    let entries = try plan(try sites(fixture))
    let text = try Tools.run("objdump", ["-d", fixture.build(), "--no-show-raw-insn"])
    try #require(text.contains("0x8(%rsp),%r10"), "the compiler no longer realigns through r10")
    #expect(entries["realigned"]?.flags == Self.afterPrologue | Self.entryOnly)
    #expect(entries["plain"]?.flags == Self.afterPrologue)
  }

  @Test("a call to mcount with no frame before it is entry only")
  func frameless() throws {
    let source = """
      void mcount(void);
      __asm__(".globl odd\\n.type odd,@function\\nodd:\\n  sub $8,%rsp\\n  call mcount@PLT\\n"
              "  add $8,%rsp\\n  ret\\n.size odd,.-odd\\n"
              ".globl first\\n.type first,@function\\nfirst:\\n  call mcount@PLT\\n  ret\\n"
              ".size first,.-first\\n");
      """
    let entries = try plan(try sites(Fixture(.gcc, ["-O2"], source: source)))
    #expect(entries["odd"]?.flags == Self.entryOnly)
    #expect(entries["first"]?.flags == 0)
  }

  @Test(
    "what no rule wants is a nop; what is a nop already stays",
    arguments: [
      (Fixture(.gcc, ["-O2", "-pg"]), NREC_ACTION_NOP),
      (Fixture(.gcc, ["-O2", "-pg", "-mfentry"]), NREC_ACTION_NOP),
      (Fixture(.gcc, ["-O2", "-fpatchable-function-entry=5"]), NREC_ACTION_LEAVE),
      (Fixture(.clang, ["-O2", "-fpatchable-function-entry=6"]), NREC_ACTION_LEAVE),
      (
        Fixture(
          .gcc, ["-O2", "-pg", "-mfentry", "-mnop-mcount", "-mrecord-mcount", "-fno-pie"],
          as: .executable), NREC_ACTION_LEAVE
      ),
    ] as [(Fixture, Int)])
  func actions(fixture: Fixture, unwanted: Int) throws {
    let sites = try sites(fixture)
    let entries = try plan(sites, filter: ["leaf", "hid*"], graph: ["choose"])
    for (name, entry) in entries {
      switch name {
      case "leaf", "hidden": #expect(entry.action == UInt8(NREC_ACTION_ARM))
      case "choose":
        #expect(entry.action == UInt8(NREC_ACTION_ARM))
        #expect(entry.flags & UInt8(NREC_SITE_GRAPH) != 0)
      default: #expect(entry.action == UInt8(unwanted), "\(name)")
      }
    }
  }

  @Test(
    "functions that begin and end the recording are marked, and armed where no filter names them")
  func triggers() throws {
    let sites = try sites(Fixture(.gcc, ["-O2", "-pg"]))
    var triggers = Triggers()
    triggers.startOn = [try FilterRule("choose"), try FilterRule("leaf")]
    triggers.stopOn = [try FilterRule("hid*"), try FilterRule("leaf:mod:libother")]
    let filter = SiteFilter(filter: [try FilterRule("leaf")], notrace: [try FilterRule("hidden")])
    let plan = Planner(filter: filter, triggers: triggers)
      .plan(sites, module: "/a/libfoo.so", firstFunction: 0)
    let start = UInt8(NREC_SITE_START)
    let marks = start | UInt8(NREC_SITE_STOP)
    for (entry, site) in zip(plan.entries, sites.entries) {
      let name = sites.name(at: site.function)
      let isTrigger = name == "choose" || name == "leaf"
      #expect(entry.flags & marks == (isTrigger ? start : 0), "\(name)")
      #expect(entry.action == UInt8(isTrigger ? NREC_ACTION_ARM : NREC_ACTION_NOP), "\(name)")
    }
    #expect(plan.armed == 2)
  }

  @Test("functions are numbered in the table's order, from the first number on")
  func numbers() throws {
    let sites = try sites(Fixture(.gcc, ["-O2", "-pg"]))
    let plan = Planner(filter: SiteFilter()).plan(sites, module: "/x", firstFunction: 70)
    #expect(plan.entries.map(\.function) == (0..<UInt32(sites.entries.count)).map { 70 + $0 })
    #expect(plan.entries.map(\.offset) == plan.entries.map(\.offset).sorted())
    #expect(plan.armed == sites.entries.count)
    #expect(plan.reason == nil)
  }

  @Test("a module with text relocations is left alone, with the reason")
  func textRelocations() throws {
    var sites = try sites(Fixture(.gcc, ["-O2", "-pg"]))
    sites.hasTextRelocations = true
    let plan = Planner(filter: SiteFilter()).plan(sites, module: "/x", firstFunction: 0)
    #expect(plan.entries.allSatisfy { $0.action == UInt8(NREC_ACTION_LEAVE) })
    #expect(plan.armed == 0)
    #expect(plan.reason?.contains("text relocations") == true)
  }

  @Test("expected bytes are the file's")
  func bytes() throws {
    let decoder = try Decoder()
    let fixture = Fixture(.gcc, ["-O2", "-pg"])
    let table = try SiteTable.discover(path: fixture.build(), decoder: decoder)
    let sites = FileSites(table, decoder: decoder)
    try #require(sites.entries.count == table.sites.count)
    for (entry, site) in zip(sites.entries, table.sites) {
      let expected = withUnsafeBytes(of: entry.expected) { Array($0.prefix(Int(entry.length))) }
      #expect(expected == table.originalBytes(of: site))
      #expect(sites.name(at: entry.function) == table.functionName(of: site))
    }
  }

  @Test("a quick look dismisses only files without call sites")
  func quickLook() throws {
    let with = [
      Fixture(.gcc, ["-O2", "-pg"]), Fixture(.gcc, ["-O2", "-pg"], link: ["-s"]),
      Fixture(.gcc, ["-O2", "-pg", "-mfentry"], link: ["-s"]),
      Fixture(.clang, ["-O2", "-fpatchable-function-entry=5"], link: ["-s"]),
      Fixture(.gcc, ["-O2", "-pg"], as: .positionIndependentExecutable),
      Fixture(.gcc, ["-O2", "-pg"], as: .staticExecutable),
    ]
    for fixture in with { #expect(QuickLook(path: try fixture.build())?.mayHaveSites() == true) }
    let without = try Fixture(.gcc, ["-O2"]).build()
    #expect(QuickLook(path: without)?.mayHaveSites() == false)
    #expect(QuickLook(path: "/no/such/file")?.mayHaveSites() == nil)
    // What is no ELF file is for the ELF reader to name.
    #expect(QuickLook(path: "/etc/passwd")?.mayHaveSites() == true)
  }
}
