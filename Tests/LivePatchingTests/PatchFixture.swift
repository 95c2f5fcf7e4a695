// SPDX-License-Identifier: Apache-2.0

import CTestSupport
import CallSites
import Foundation
import Glibc
import MachineCode
import TestSupport
import Units

@testable import LivePatching

/// One form of call site, and a fixture of functions with it whose results a test can check.
struct PatchRow: Sendable, CustomStringConvertible {
  var fixture: Fixture
  var form: CallSite.Form
  var kind: CallSite.Kind
  var description: String { "\(form.name) \(kind.name) \(fixture.compiler)" }

  init(
    _ compiler: Fixture.Compiler, _ flags: String, _ form: CallSite.Form, _ kind: CallSite.Kind
  ) {
    let all = "-O1 -fno-inline -fno-omit-frame-pointer -falign-functions=16 " + flags
    fixture = Fixture(
      compiler, all.split(separator: " ").map(String.init), source: PatchRow.source)
    self.form = form
    self.kind = kind
  }

  static let clangMcount = PatchRow(.clang, "-pg", .e8, .mcount)
  static let clangFentry = PatchRow(.clang, "-pg -mfentry", .e8, .fentry)
  static let gccMcount = PatchRow(.gcc, "-pg", .ff15, .mcount)
  static let gccPatchable = PatchRow(.gcc, "-fpatchable-function-entry=5", .nop1x5, .patchable)

  static let all: [PatchRow] = [
    clangMcount, clangFentry, gccMcount, gccPatchable,
    PatchRow(.gcc, "-pg -fno-pic", .e8, .mcount),
    PatchRow(.gcc, "-pg -fno-pic -mfentry", .e8, .fentry),
    PatchRow(.gcc, "-pg -mfentry", .ff15, .fentry),
    PatchRow(.gcc, "-pg -mfentry -DOWN_FENTRY", .addr32e8, .fentry),
    PatchRow(.clang, "-fpatchable-function-entry=5", .nop5, .patchable),
    PatchRow(.clang, "-fpatchable-function-entry=6", .nop6, .patchable),
    PatchRow(.clang, "-pg -mfentry -fcf-protection", .e8, .fentry),
    PatchRow(.gcc, "-fpatchable-function-entry=5 -fcf-protection", .nop1x5, .patchable),
  ]

  /// The fixture has the functions `f0` to `f23`; every sixth one begins a page. `constructed`
  /// returns the first bytes of `f0` as the constructor found them.
  static let functionCount = 24
  static let source =
    """
    #define OURS __attribute__((no_instrument_function, patchable_function_entry(0)))
    #ifdef OWN_FENTRY
    __asm__(".globl __fentry__; .hidden __fentry__; .type __fentry__, @function; __fentry__: ret");
    #endif
    // Assembly takes the addresses, so that a shared object can also be made with -fno-pic.
    __attribute__((used)) static unsigned char first[64];
    OURS const unsigned char *constructed(void) {
      const unsigned char *at;
      __asm__("leaq first(%%rip), %0" : "=r"(at));
      return at;
    }
    __attribute__((constructor)) OURS static void construct(void) {
      const volatile unsigned char *from;
      unsigned char *to;
      __asm__("movq f0@GOTPCREL(%%rip), %0" : "=r"(from));
      __asm__("leaq first(%%rip), %0" : "=r"(to));
      for (int i = 0; i < 64; i++) to[i] = from[i];
    }
    __attribute__((noinline)) void empty(void) {}

    """
    + (0..<functionCount).map { index in
      let place = index % 6 == 0 ? "aligned(4096), " : ""
      return "__attribute__((\(place)noinline)) int f\(index)(int a) "
        + "{ return a * \(index + 1) + \(index); }\n"
    }.joined()
}

/// A loaded fixture, and two independent ways to look at its text.
///
/// The file's program headers give the bytes that the text had; /proc/self/maps gives its pages'
/// permissions.
final class PatchFixture {
  let path: String
  let library: Library
  let decoder: Decoder
  let table: SiteTable
  let module: LoadedModule
  private let segments: [(address: ModuleOffset, bytes: [UInt8])]

  convenience init(_ row: PatchRow) throws { try self.init(path: row.fixture.build()) }

  init(path: String) throws {
    self.path = path
    decoder = try Decoder()
    table = try SiteTable.discover(path: path, decoder: decoder)
    library = try Library(path: path)
    let inside = CodeAddress(try library.symbol("f0"))
    guard let module = LoadedModule.find(containing: inside) else {
      throw TestSupportError("\(path) is not listed")
    }
    self.module = module
    segments = try executableSegments(of: path)
  }

  func patched() throws -> PatchedModule {
    try PatchedModule(module: module, table: table, decoder: decoder)
  }

  /// An entry stub whose destination counts the calls.
  func stub() throws -> EntryStub {
    try EntryStubPage(near: module.span, destinations: [cts_count_entry_address()]).stubs[0]
  }

  /// The live text, all of it.
  var text: [UInt8] {
    segments.flatMap { live(module.loadBias + $0.address, $0.bytes.count) }
  }

  var textIsAsInFile: Bool { text == segments.flatMap(\.bytes) }

  func live(_ address: CodeAddress, _ count: Int) -> [UInt8] {
    Array(UnsafeRawBufferPointer(start: address.pointer, count: count))
  }

  func bytes(of site: Int) -> [UInt8] {
    live(module.loadBias + table.sites[site].offset, table.sites[site].length)
  }

  /// The permissions of the text's pages. After loading they are `["r-xp"]`.
  var pagePermissions: Set<String> { permissions(in: module.text) }

  var functions: [(function: @convention(c) (Int32) -> Int32, factor: Int32, sum: Int32)] {
    get throws {
      try (0..<PatchRow.functionCount).map { index in
        let symbol = try library.symbol("f\(index)")
        let function = unsafeBitCast(symbol, to: (@convention(c) (Int32) -> Int32).self)
        return (function, Int32(index + 1), Int32(index))
      }
    }
  }

  /// Calls every function once and returns how many results were wrong.
  func callAll() throws -> Int {
    try functions.count { $0.function(7) != 7 * $0.factor + $0.sum }
  }

  var calls: [cts_call] {
    get throws {
      try functions.map {
        cts_call(function: $0.function, argument: 7, result: 7 * $0.factor + $0.sum)
      }
    }
  }

  /// The site of the function with that name.
  func site(of function: String) throws -> Int {
    let found = table.sites.firstIndex { table.functionName(of: $0) == function }
    guard let found else { throw TestSupportError("\(path): no site in \(function)") }
    return found
  }

  /// Changes text without the engine, as a foreign writer would.
  func overwrite(_ address: CodeAddress, _ bytes: [UInt8]) throws {
    let memory = open("/proc/self/mem", O_RDWR | O_CLOEXEC)
    defer { close(memory) }
    guard pwrite(memory, bytes, bytes.count, off_t(address.rawValue)) == bytes.count else {
      throw TestSupportError("cannot write at \(address)")
    }
  }
}

/// Threads that call a fixture's functions until `stop`. They must be stopped before the fixture is
/// unloaded.
final class Callers {
  private let fixture: PatchFixture
  private var callers: OpaquePointer?

  init(of fixture: PatchFixture, threads: Int) throws {
    self.fixture = fixture
    let calls = try fixture.calls
    callers = cts_callers_start(calls, calls.count, Int32(threads))
    if callers == nil { throw TestSupportError("cannot start threads") }
  }

  deinit { _ = stop() }

  private var final: UInt64 = 0

  /// The calls made so far; after `stop`, all calls.
  var count: UInt64 { callers.map { cts_callers_count($0) } ?? final }

  /// Waits until the threads have made new calls. Returns false after a minute without any.
  func makeProgress() -> Bool {
    let before = count
    return comesTrue { count > before }
  }

  /// How many results were wrong.
  func stop() -> UInt64 {
    defer { callers = nil }
    return callers.map { cts_callers_stop($0, &final) } ?? 0
  }
}

/// The mappings of this process as /proc/self/maps prints them.
func mappings() -> [(range: Range<CodeAddress>, permissions: String)] {
  guard let file = fopen("/proc/self/maps", "re") else { return [] }
  defer { fclose(file) }
  var found: [(Range<CodeAddress>, String)] = []
  var line: UnsafeMutablePointer<CChar>?
  var capacity = 0
  defer { free(line) }
  while getline(&line, &capacity, file) > 0, let line {
    let words = String(cString: line).split(separator: " ")
    let ends = words[0].split(separator: "-").compactMap { UInt64($0, radix: 16) }.map {
      CodeAddress($0)
    }
    found.append((ends[0]..<ends[1], String(words[1])))
  }
  return found
}

/// The permissions of all mappings that overlap `range`.
func permissions(in range: Range<CodeAddress>) -> Set<String> {
  Set(mappings().filter { $0.range.overlaps(range) }.map(\.permissions))
}

/// PT_LOAD segments with PF_X: link-time address and bytes (ELF64: e_phoff at 32, e_phnum at 56;
/// p_type, p_flags, p_offset, p_vaddr, _, p_filesz).
private func executableSegments(of path: String) throws -> [(ModuleOffset, [UInt8])] {
  let file = try Data(contentsOf: URL(fileURLWithPath: path))
  return file.withUnsafeBytes { bytes in
    let count = Int(bytes.loadUnaligned(fromByteOffset: 56, as: UInt16.self))
    let start = Int(bytes.loadUnaligned(fromByteOffset: 32, as: UInt64.self))
    return (0..<count).compactMap { index in
      let header = start + index * 56
      func word(_ at: Int) -> UInt64 {
        bytes.loadUnaligned(fromByteOffset: header + at, as: UInt64.self)
      }
      let type = bytes.loadUnaligned(fromByteOffset: header, as: UInt32.self)
      let flags = bytes.loadUnaligned(fromByteOffset: header + 4, as: UInt32.self)
      guard type == 1, flags & 1 != 0 else { return nil }
      return (ModuleOffset(word(16)), Array(bytes[Int(word(8))..<Int(word(8) + word(32))]))
    }
  }
}
