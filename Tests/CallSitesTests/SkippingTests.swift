// SPDX-License-Identifier: Apache-2.0

import CallSites
import MachineCode
import TestSupport
import Testing

/// What looks like a call site and is none.
@Suite struct SkippingTests {
  /// Bytes of a call to the very stub, hidden in the immediate of a mov: the assembler computes the
  /// displacement, so that the scan must find it.
  static let decoys = """
    extern void ext(void);
    __attribute__((noinline)) int real(int a) { return a + 1; }
    __asm__(".text\\n.globl decoy\\n.type decoy, @function\\ndecoy:\\n"
            "  .cfi_startproc\\n"
            "  .byte 0x48, 0xb8, 0x90\\n"  // movabs $imm64, %rax, whose first byte is a nop
            "  .byte 0xe8\\n  .reloc ., R_X86_64_PLT32, mcount - 4\\n  .long 0\\n"
            "  .byte 0x90, 0x90\\n"
            "  ret\\n  .cfi_endproc\\n.size decoy, . - decoy\\n"
            ".globl prefixed\\n.type prefixed, @function\\nprefixed:\\n  .cfi_startproc\\n"
            "  .byte 0x48, 0xe8\\n  .reloc ., R_X86_64_PLT32, mcount - 4\\n  .long 0\\n"
            "  ret\\n  .cfi_endproc\\n.size prefixed, . - prefixed\\n"
            ".globl ends67\\n.type ends67, @function\\nends67:\\n  .cfi_startproc\\n"
            "  .byte 0xb0, 0x67\\n"  // mov $0x67, %al: the next instruction is a plain e8
            "  .byte 0xe8\\n  .reloc ., R_X86_64_PLT32, mcount - 4\\n  .long 0\\n"
            "  ret\\n  .cfi_endproc\\n.size ends67, . - ends67\\n"
            ".globl broken\\n.type broken, @function\\nbroken:\\n  .cfi_startproc\\n"
            "  .byte 0x06\\n"  // no instruction in 64-bit mode
            "  .byte 0xe8\\n  .reloc ., R_X86_64_PLT32, mcount - 4\\n  .long 0\\n"
            "  ret\\n  .cfi_endproc\\n.size broken, . - broken\\n");
    """

  @Test("bytes of a call inside an immediate are skipped; a call after a byte 67 is not")
  func decoysAreSkipped() throws {
    let fixture = Fixture(.clang, ["-O2", "-pg"], link: ["-nostdlib"], source: Self.decoys)
    let table = try DiscoveryTests.discover(fixture.build())
    #expect(Set(DiscoveryTests.places(table).map(\.function)) == ["real", "ends67"])
    #expect(table.sites.allSatisfy { $0.form == .e8 })
    #expect(
      Set(table.skipped.map(\.reason)) == [
        "not at an instruction boundary: the bytes lie inside another instruction",
        "a call with a prefix other than 67",
        "the function's bytes before it do not decode as instructions",
      ])
    #expect(table.skipped.count == 3)
  }

  @Test(
    "an area that holds no 5-byte call at the entry is skipped, with its size",
    arguments: [
      ("5,2", Fixture.Compiler.gcc, SkippedSite.Reason.areaTooShort(bytes: 3)),
      ("5,2", .clang, .areaTooShort(bytes: 3)),
      ("3", .gcc, .areaTooShort(bytes: 3)),
      ("4", .clang, .areaTooShort(bytes: 4)),
      ("8", .clang, .instructionTooLong(bytes: 8)),
    ])
  func unsuitableAreasAreSkipped(
    area: String, compiler: Fixture.Compiler, why: SkippedSite.Reason
  ) throws {
    let fixture = Fixture(compiler, ["-O2", "-fpatchable-function-entry=\(area)"])
    let table = try DiscoveryTests.discover(fixture.build())
    #expect(table.sites.isEmpty)
    #expect(table.skipped.count == FixtureSource.instrumented.count + 1)
    for place in table.skipped { #expect(place.why == why) }
  }

  /// A patchable area in the middle of a function, listed as if the compiler had put it there.
  static let misplaced = """
    int f(int a) {
      __asm__ volatile("1: .byte 0x90,0x90,0x90,0x90,0x90\\n"
        ".pushsection __patchable_function_entries,\\"aw\\",@progbits\\n.quad 1b\\n.popsection");
      return a;
    }
    """

  @Test("nops that are not at a function's entry never become a site")
  func areasInsideFunctionsAreSkipped() throws {
    let fixture = Fixture(.gcc, ["-O0"], link: ["-nostdlib"], source: Self.misplaced)
    let table = try DiscoveryTests.discover(fixture.build())
    #expect(table.sites.isEmpty)
    #expect(table.skipped.map(\.why) == [.notAtFunctionEntry])
  }

  @Test("a function of this file's own, called through a pointer of that value, is no site")
  func ownPointersAreNoSlots() throws {
    let source = """
      void mcount(void) {}
      void (*pointer)(void) = mcount;
      __attribute__((noinline)) int f(int a) { pointer(); return a; }
      """
    let fixture = Fixture(
      .gcc, ["-O2", "-fno-pic"], link: ["-nostdlib", "-Wl,-e,f"], as: .executable, source: source)
    #expect(try DiscoveryTests.discover(fixture.build()).sites.isEmpty)
  }

  @Test(
    "a function with a call and a patchable area has one site",
    arguments: [["-pg"], ["-pg", "-mfentry"]])
  func callAndArea(options: [String]) throws {
    let fixture = Fixture(.gcc, ["-O1"] + options + ["-fpatchable-function-entry=5"])
    let table = try DiscoveryTests.discover(fixture.build())
    #expect(Set(table.sites.map(\.functionStart)).count == table.sites.count)
    // One function of the fixture is not to be instrumented by -pg: it has its area alone.
    #expect(table.sites.filter { $0.kind == .patchable }.count == 1)
    #expect(table.skipped.count == table.sites.count - 1)
    #expect(table.skipped.allSatisfy { $0.why == .functionHasCall })
  }

  @Test(
    "a function that hands over or reads its return address is known, and no other",
    arguments: [["-pg"], ["-pg", "-mfentry"], ["-fpatchable-function-entry=5"]],
    [["-O2"], ["-O2", "-fno-plt"], ["-O2", "-fno-omit-frame-pointer"], ["-O0"]])
  func returnAddressUsers(kind: [String], options: [String]) throws {
    let source = """
      #define _GNU_SOURCE
      #include <dlfcn.h>
      #include <stdio.h>
      #include <string.h>
      __attribute__((noinline)) void *hands_over(const char *n) { return dlsym(RTLD_NEXT, n); }
      __attribute__((noinline)) void *maybe(const char *n, int i) {
        return i ? dlopen(n, RTLD_NOW) : 0;
      }
      __attribute__((noinline)) void *reads(void) { return __builtin_return_address(0); }
      __attribute__((noinline)) int tells(FILE *to, const char *what) {
        char text[200];
        snprintf(text, sizeof text, "%s", what);
        return fprintf(to, "%s %p\\n", text, __builtin_return_address(0)) + 1;
      }
      __attribute__((noinline)) int calls(const char *n) { return dlsym(RTLD_NEXT, n) != 0; }
      __attribute__((noinline)) size_t other(const char *n) { return strlen(n); }
      __attribute__((noinline)) int before(int a) { return a * 3; }
      __attribute__((noinline, no_instrument_function, patchable_function_entry(0)))
      void *untraced(void) { return __builtin_return_address(0); }
      __attribute__((noinline)) long many(long a, long b, long c, long d, long e, long f, long g) {
        volatile long kept[4] = {a, b, c, d};
        return kept[0] + kept[1] + kept[2] + kept[3] + e + f + g;
      }
      """
    let fixture = Fixture(.gcc, options + kind, source: source)
    let table = try DiscoveryTests.discover(fixture.build())
    let starts = try table.returnAddressUsers().functionStarts
    let found = Set(
      table.sites.filter { starts.contains($0.functionStart) }.compactMap {
        table.functionName(of: $0)
      })
    // Without optimisation a call of dlsym returns here.
    let handsOver: Set = options == ["-O0"] ? [] : ["hands_over", "maybe"]
    #expect(found == handsOver.union(["reads", "tells"]))
  }
}
