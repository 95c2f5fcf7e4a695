// SPDX-License-Identifier: Apache-2.0

import CPatchCore
import CUnloadLab
import Foundation
import TestSupport
import Testing
import Units

@testable import UnloadLab

/// Tests of the engine patch their process, so each runs in its own.
@Suite(.ownProcess) struct DaemonTests {}

/// Attaches an engine for the time of `body`.
func withEngine(
  _ version: DaemonEngine.Version = .shipped, intervalMicroseconds: UInt64 = 60_000_000,
  conversionLimit: UInt64 = 100_000, _ body: (DaemonEngine) throws -> Void
) throws {
  let engine = DaemonEngine(
    version: version, intervalMicroseconds: intervalMicroseconds, conversionLimit: conversionLimit)
  try engine.attach()
  defer { engine.detach() }
  try body(engine)
}

let nop: [UInt8] = [0x0f, 0x1f, 0x44, 0x00, 0x00]

/// The fixtures keep addresses as numbers, as the C that most of the tests call takes them.
extension DaemonEngine {
  func record(at ip: UInt64) -> SiteRecord? { record(at: CodeAddress(ip)) }
  func lastPatch(at ip: UInt64) -> SitePatch? { lastPatch(at: CodeAddress(ip)) }
  func filter(_ ip: UInt64) throws(DaemonEngineError) { try filter(CodeAddress(ip)) }
  func notrace(_ ip: UInt64) throws(DaemonEngineError) { try notrace(CodeAddress(ip)) }

  func release(start: UInt64, end: UInt64) -> Int {
    release(CodeAddress(start)..<CodeAddress(end))
  }
}

/// `call target` as it stands at `ip`.
func call(from ip: UInt64, to target: UInt64) -> [UInt8] {
  let distance = UInt32(truncatingIfNeeded: target &- (ip + 5))
  return [0xe8] + withUnsafeBytes(of: distance.littleEndian) { Array($0) }
}

func bytes(at address: UInt64, count: Int = 5) -> [UInt8] {
  Array(UnsafeRawBufferPointer(start: UnsafeRawPointer(bitPattern: UInt(address)), count: count))
}

func write(_ bytes: [UInt8], at address: UInt64) {
  let place = UnsafeMutableRawBufferPointer(
    start: UnsafeMutableRawPointer(bitPattern: UInt(address)), count: bytes.count)
  place.copyBytes(from: bytes)
}

/// Anonymous memory that looks like instrumented text, and is never executed.
///
/// Every 16 bytes there is a call of a stub at the memory's start.
final class CallField {
  let start: UInt64
  let size: Int
  let siteCount: Int

  init(siteCount: Int) {
    self.siteCount = siteCount
    size = (siteCount * 16 + 16 + 4095) & ~4095
    let memory = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    precondition(memory != MAP_FAILED, "mmap of \(size) bytes failed")
    start = UInt64(UInt(bitPattern: memory))
    for index in 0..<siteCount { write(call(from: site(index), to: start), at: site(index)) }
  }

  deinit { munmap(UnsafeMutableRawPointer(bitPattern: UInt(start)), size) }

  var end: UInt64 { start + UInt64(size) }
  var text: InstrumentedText {
    InstrumentedText(
      start: CodeAddress(start), end: CodeAddress(end), mcountStub: CodeAddress(start))
  }
  func site(_ index: Int) -> UInt64 { start + 16 + UInt64(index) * 16 }

  func protect(_ protection: Int32) {
    mprotect(UnsafeMutableRawPointer(bitPattern: UInt(start)), size, protection)
  }

  /// Sites that fall into one bucket of the hash, `count` of them.
  func collidingSites(_ count: Int) throws -> [UInt64] {
    let bucket = nul_hash(site(0))
    let sites = (0..<siteCount).lazy.map(self.site).filter { nul_hash($0) == bucket }
    return try #require(sites.count >= count ? Array(sites.prefix(count)) : nil)
  }
}

/// A shared object of C functions compiled by clang -pg, built once for all tests.
enum PgLibrary {
  static let source = """
    #include <stdarg.h>
    volatile long fixture_count;
    void fixture_touch(void) { fixture_count++; }
    void fixture_other(void) { fixture_count += 2; }
    long fixture_six(long a, long b, long c, long d, long e, long f) {
      return a + 10 * b + 100 * c + 1000 * d + 10000 * e + 100000 * f;
    }
    double fixture_eight(double a, double b, double c, double d, double e, double f, double g,
                         double h) {
      return a + 2 * b + 4 * c + 8 * d + 16 * e + 32 * f + 64 * g + 128 * h;
    }
    double fixture_sum(int count, ...) {
      va_list list;
      va_start(list, count);
      double sum = 0;
      for (int i = 0; i < count; i++) sum += va_arg(list, double);
      va_end(list);
      return sum;
    }
    double fixture_call_sum(void) { return fixture_sum(4, 1.5, 2.5, 3.5, 4.5); }
    double fixture_call_eight(void) { return fixture_eight(1, 2, 3, 4, 5, 6, 7, 8); }
    long fixture_call_six(void) { return fixture_six(1, 2, 3, 4, 5, 6); }
    """

  /// Sets nine integer registers and xmm0 to xmm7, calls mcount, and returns a value that is not 0
  /// if one of them has changed. The second version calls with the stack off by eight, which mcount
  /// has to accept.
  static let registers = """
        .globl fixture_registers
        .type fixture_registers, @function
    fixture_registers:
        .irp n,0,1,2,3,4,5,6,7
        mov $0x1111+\\n, %eax
        movq %rax, %xmm\\n
        .endr
        mov $1, %rax; mov $2, %rcx; mov $3, %rdx; mov $4, %rsi; mov $5, %rdi
        mov $6, %r8; mov $7, %r9; mov $8, %r10; mov $9, %r11
        ALIGN
        call mcount@PLT
        UNALIGN
        sub $1, %rax; sub $2, %rcx; or %rcx, %rax; sub $3, %rdx; or %rdx, %rax
        sub $4, %rsi; or %rsi, %rax; sub $5, %rdi; or %rdi, %rax; sub $6, %r8; or %r8, %rax
        sub $7, %r9; or %r9, %rax; sub $8, %r10; or %r10, %rax; sub $9, %r11; or %r11, %rax
        .irp n,0,1,2,3,4,5,6,7
        movq %xmm\\n, %rcx; sub $0x1111+\\n, %rcx; or %rcx, %rax
        .endr
        ret
    """

  static let built = Result { try build() }

  static func build() throws -> String {
    let folder = try TemporaryFolder.shared.fresh("daemon")
    guard let clang = Tools.findBesideSwift("clang") else {
      throw FixtureError(reason: "no clang in PATH or beside swift")
    }
    let aligned = registers.replacingOccurrences(of: "UNALIGN", with: "add $8, %rsp")
      .replacingOccurrences(of: "ALIGN", with: "sub $8, %rsp")
    let odd = registers.replacingOccurrences(of: "UNALIGN", with: "")
      .replacingOccurrences(of: "ALIGN", with: "")
      .replacingOccurrences(of: "fixture_registers", with: "fixture_registers_odd")
    try source.write(toFile: folder + "/f.c", atomically: true, encoding: .utf8)
    try ("        .text\n" + aligned + "\n" + odd + "\n.section .note.GNU-stack,\"\",@progbits\n")
      .write(toFile: folder + "/r.s", atomically: true, encoding: .utf8)
    try run([
      clang, "-c", "-fPIC", "-pg", "-O1", "-fno-inline", "-fno-omit-frame-pointer", "-o",
      folder + "/f.o", folder + "/f.c",
    ])
    try run([clang, "-c", "-o", folder + "/r.o", folder + "/r.s"])
    try run([
      clang, "-shared", "-Wl,-z,now", "-o", folder + "/libfixture.so", folder + "/f.o",
      folder + "/r.o",
    ])
    return folder + "/libfixture.so"
  }

  static func run(_ command: [String]) throws {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: command[0])
    process.arguments = Array(command.dropFirst())
    try process.run()
    process.waitUntilExit()
    try #require(process.terminationStatus == 0, "\(command.joined(separator: " "))")
  }
}

/// Loads the library for the time of `body`, which may unload it earlier with `close`.
func withLibrary(_ body: (LoadedLibrary) throws -> Void) throws {
  let library = try LoadedLibrary()
  defer { library.close() }
  try body(library)
}

final class LoadedLibrary {
  private var handle: UnsafeMutableRawPointer?
  /// The address of the call of mcount in each function, found before any patch.
  private var sites: [String: UInt64] = [:]

  init() throws {
    guard let loaded = dlopen(try PgLibrary.built.get(), RTLD_NOW | RTLD_LOCAL) else {
      throw FixtureError(reason: String(cString: dlerror()))
    }
    handle = loaded
    // fixture_touch saves no register, so its call is at +4. Its target is the stub.
    let touch = try address("fixture_touch") + 4
    let distance = bytes(at: touch).dropFirst().reversed().reduce(UInt32(0)) {
      $0 << 8 | UInt32($1)
    }
    let stub = (touch + 5) &+ UInt64(bitPattern: Int64(Int32(bitPattern: distance)))
    for name in ["touch", "other", "six", "eight", "sum"].map({ "fixture_" + $0 }) {
      let start = try address(name)
      sites[name] = (start..<start + 200).first { bytes(at: $0) == call(from: $0, to: stub) }
    }
  }

  func close() {
    if let handle { dlclose(handle) }
    handle = nil
  }

  func address(_ name: String) throws -> UInt64 {
    guard let found = dlsym(handle, name) else {
      throw FixtureError(reason: "no symbol \(name)")
    }
    return UInt64(UInt(bitPattern: found))
  }

  /// The function's call of mcount, behind its prologue.
  func site(_ name: String) throws -> UInt64 {
    guard let site = sites[name] else { throw FixtureError(reason: "no call of mcount in \(name)") }
    return site
  }

  func function<F>(_ name: String, _ type: F.Type) throws -> F {
    unsafeBitCast(UInt(try address(name)), to: type)
  }

  func touch(_ name: String = "fixture_touch") throws {
    try function(name, (@convention(c) () -> Void).self)()
  }

  func text() throws -> InstrumentedText {
    let site = try site("fixture_touch")
    guard let text = InstrumentedText(aroundCallAt: CodeAddress(site)) else {
      throw FixtureError(reason: "no module lists 0x\(String(site, radix: 16))")
    }
    return text
  }
}

struct FixtureError: Error {
  var reason: String
}

/// Tells other threads to end.
final class Flag: @unchecked Sendable {
  private let lock = NSLock()
  private var value = false
  var isSet: Bool {
    get { lock.withLock { value } }
    set { lock.withLock { value = newValue } }
  }
}
