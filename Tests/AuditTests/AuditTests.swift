// SPDX-License-Identifier: Apache-2.0

import Foundation
import LivePatching
import MachineCode
import TestSupport
import Testing
import Units

@testable import Audit

/// Whether this user may open what /proc/PID/map_files names.
private let mayOpenMapFiles: Bool = {
  let folder = "/proc/self/map_files"
  guard let names = try? FileManager.default.contentsOfDirectory(atPath: folder) else {
    return false
  }
  return names.contains { name in
    let descriptor = open("\(folder)/\(name)", O_RDONLY)
    if descriptor >= 0 { close(descriptor) }
    return descriptor >= 0
  }
}()

extension AuditReport {
  fileprivate func differences(in library: AuditedLibrary) -> [TextDifference] {
    differences.filter { $0.module.hasPrefix(library.path) }
  }

  fileprivate func uncompared(in library: AuditedLibrary) -> [UncomparedText] {
    uncompared.filter { $0.module.hasPrefix(library.path) }
  }
}

@Suite("An audit compares live text with the file", .ownProcess)
struct AuditTests {
  private func audit(
    known: [KnownChange] = [], byPathOnly: Bool = false, afterComparing: () -> Void = {}
  ) throws -> AuditReport {
    try auditText(
      of: getpid(), known: known, opensMapFiles: !byPathOnly, afterComparing: afterComparing)
  }

  @Test("a process that nobody has patched differs in no byte")
  func unpatchedProcess() throws {
    let child = try SleepingChild()
    let report = try auditText(of: child.identifier)
    #expect(report.bytesDiffering == 0)
    #expect(report.differences.isEmpty)
    #expect(report.uncompared.isEmpty)
    #expect(report.modules.count >= 3)
    #expect(report.modules.contains { $0.contains("libc.so") })
    // libc alone has more than a megabyte of text.
    #expect(report.bytesCompared > 1_000_000)
  }

  @Test("text that nobody has touched is compared in full and is equal")
  func untouchedLibrary() throws {
    let library = try AuditedLibrary()
    let without = try auditText(of: getpid())
    #expect(without.modules.contains(library.path))
    #expect(without.differences(in: library).isEmpty)
    #expect(without.uncompared(in: library).isEmpty)
    library.unload()
    let after = try audit()
    #expect(without.bytesCompared - after.bytesCompared >= UInt64(AuditedLibrary.textBytes))
  }

  @Test(
    "one changed byte is named exactly, and not after it was put back", arguments: [false, true])
  func oneByte(byPathOnly: Bool) throws {
    let library = try AuditedLibrary()
    try library.write([0x90], at: 4711)
    let found = try audit(byPathOnly: byPathOnly).differences(in: library)
    let difference = try #require(found.first)
    #expect(found.count == 1)
    #expect(difference.module == library.path)
    #expect(difference.address == library.function + 4711)
    #expect(difference.linkAddress == library.linkAddress + 4711)
    #expect(difference.fileBytes == [0xcc])
    #expect(difference.liveBytes == [0x90])
    #expect(!difference.isKnown)
    let file = try FileHandle(forReadingFrom: URL(fileURLWithPath: library.path))
    try file.seek(toOffset: difference.fileOffset)
    #expect(try file.read(upToCount: 1) == Data([0xcc]))
    let place = String((library.linkAddress + 4711).rawValue, radix: 16)
    #expect("\(difference)" == "\(library.path)+0x\(place): file cc, live 90")

    try library.write([0xcc], at: 4711)
    #expect(try audit(byPathOnly: byPathOnly).differences(in: library).isEmpty)
  }

  @Test(
    "a run ends where a byte is equal, and not where the audit's pieces or the pages meet",
    arguments: [0, 511, 4095, (1 << 20) - 3, (2 << 20) - 1, AuditedLibrary.textBytes - 8])
  func runs(offset: Int) throws {
    let library = try AuditedLibrary()
    // The pieces begin with the segment, not with the function.
    let segment = library.linkAddress.rounded(downTo: 4096)
    let offset = max(0, offset - Int(library.linkAddress - segment))
    try library.write([1, 2, 3, 4, 5, 0xcc, 7, 8], at: offset)
    let report = try audit()
    let found = report.differences(in: library)
    #expect(found.map(\.liveBytes) == [[1, 2, 3, 4, 5], [7, 8]])
    #expect(found.map(\.address) == [0, 6].map { library.function + UInt64(offset + $0) })
    #expect(report.bytesDiffering >= 7)
  }

  @Test("changes of the journal are distinguished from others, byte for byte")
  func knownChanges() throws {
    let library = try AuditedLibrary()
    func change(_ offset: Int, _ current: [UInt8]) -> KnownChange {
      KnownChange(
        address: library.function + UInt64(offset),
        original: [UInt8](repeating: 0xcc, count: current.count), current: current)
    }
    // Bytes that a change leaves as they were belong to it; an unknown neighbour does not.
    let whole = change(100, [0x0f, 0xcc, 0x44, 0xcc, 0xcc])
    let overwritten = change(200, [0x0f, 0x1f, 0x44, 0, 0])
    let undone = change(300, [0x0f, 0x1f, 0x44, 0, 0])
    let nothing = change(400, [0xcc, 0xcc])
    let another = change(500, [0x0f, 0x1f])
    try library.write(whole.current + [0x99], at: 100)
    try library.write([0xcc, 0x1f, 0x44, 0, 0], at: 200)
    try library.write([0x0f, 0x0b], at: 500)
    let report = try audit(known: [undone, whole, overwritten, nothing, another])
    let found = report.differences(in: library)
    #expect(found.map(\.isKnown) == [true, false, false, false])
    #expect(found.map(\.liveBytes) == [whole.current, [0x99], [0x1f, 0x44, 0, 0], [0x0f, 0x0b]])
    #expect(found.first?.fileBytes == whole.original)
    #expect(report.absentChanges == [undone, overwritten, another])
    #expect(
      report.unknownDifferences.filter { $0.module == library.path }.map(\.address)
        == [105, 201, 500].map { library.function + $0 })
  }

  @Test("our jump in the loader is known as ours, with the journal or without; another byte is not")
  func loaderJump() throws {
    func inLoader(_ report: AuditReport) -> [TextDifference] {
      report.differences.filter { $0.module.contains("/ld-") }
    }
    #expect(inLoader(try audit()).isEmpty)
    try LoaderHook.install(decoder: Decoder())
    let change = try #require(LoaderHook.change)
    for known in [[], [change]] {
      let found = inLoader(try audit(known: known))
      #expect(found.map(\.isKnown) == [true])
      #expect(found.first?.address == change.address)
      #expect(found.first?.fileBytes == change.original)
      #expect(found.first?.liveBytes == change.current)
      #expect(found.first.map { "\($0)".hasSuffix(" (ours)") } == true)
    }
    // The same shape to another place is not ours.
    let memory = open("/proc/self/mem", O_RDWR | O_CLOEXEC)
    defer { close(memory) }
    let displacement = off_t(change.address.rawValue + 1)
    #expect(pwrite(memory, [0, 0, 0, 0] as [UInt8], 4, displacement) == 4)
    #expect(inLoader(try audit()).allSatisfy { !$0.isKnown })
    #expect(pwrite(memory, Array(change.current[1...]), 4, displacement) == 4)
    try LoaderHook.remove()
    #expect(inLoader(try audit()).isEmpty)
  }

  @Test("text that has lost its permission to execute is compared all the same")
  func lostPermission() throws {
    let library = try AuditedLibrary()
    try library.write([0x90], at: 8192, leaving: PROT_READ)
    #expect(
      try audit().differences(in: library).map(\.address) == [library.function + 8192])
    try library.write([0x90], at: 16384, leaving: PROT_READ | PROT_WRITE | PROT_EXEC)
    #expect(try audit().differences(in: library).count == 2)
    try library.write([0xcc], at: 16384, leaving: PROT_NONE)
    #expect(try audit().differences(in: library).count == 1)
  }

  @Test("text under other memory is listed as not mapped")
  func hole() throws {
    let library = try AuditedLibrary()
    let page = (library.function + 65536).rounded(downTo: 4096)
    let target = page.pointer
    let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED
    try #require(mmap(target, 8192, PROT_READ | PROT_EXEC, flags, -1, 0) == target)
    let report = try audit()
    #expect(report.differences(in: library).isEmpty)
    #expect(
      report.uncompared(in: library) == [
        UncomparedText(module: library.path, address: page, length: 8192, reason: .notMapped)
      ])
  }
}

@Suite("An audit knows which file it compares with", .ownProcess)
struct AuditedFileTests {
  private func audit(byPathOnly: Bool) throws -> AuditReport {
    try auditText(of: getpid(), opensMapFiles: !byPathOnly, afterComparing: {})
  }

  @Test("a deleted file is compared where the kernel lends it, else listed")
  func deleted() throws {
    let library = try AuditedLibrary()
    try library.write([0x90], at: 1)
    try FileManager.default.removeItem(atPath: library.path)
    let byPath = try audit(byPathOnly: true)
    #expect(byPath.differences(in: library).isEmpty)
    // The written page is a mapping of its own.
    #expect(byPath.uncompared(in: library).map(\.reason) == [.deleted, .deleted])
    #expect(byPath.uncompared(in: library).first?.module == library.path + " (deleted)")
    guard mayOpenMapFiles else { return }
    let report = try audit(byPathOnly: false)
    #expect(report.differences(in: library).map(\.liveBytes) == [[0x90]])
    #expect(report.uncompared(in: library).isEmpty)
  }

  @Test("a file that was renamed over is not taken for the mapped one")
  func replaced() throws {
    let library = try AuditedLibrary()
    let other = library.folder + "/other.so"
    try AuditedLibrary.build("int other(void) { return 1; }", [], at: other)
    // The kernel would call the mapped one deleted; a second link keeps it alive, elsewhere.
    #expect(link(library.path, library.folder + "/kept.so") == 0)
    #expect(rename(other, library.path) == 0)
    let byPath = try audit(byPathOnly: true)
    #expect(byPath.differences(in: library).isEmpty)
    #expect(byPath.uncompared(in: library).count == 1)
    guard mayOpenMapFiles else { return }
    let report = try audit(byPathOnly: false)
    #expect(report.differences(in: library).isEmpty)
    #expect(report.uncompared(in: library).isEmpty)
  }

  @Test("another file at the path of a mapping is refused by its inode")
  func anotherInode() throws {
    let library = try AuditedLibrary()
    let mappings = try ProcessDirectory(getpid()).fileMappings()
    var mapping = try #require(mappings.first { $0.path == library.path && $0.isExecutable })
    let found = mapping.inode
    mapping.inode += 1
    #expect(throws: UncomparedText.Reason.replaced(mapped: found + 1, found: found)) {
      _ = try ReadableFile.mapped(mapping, in: ProcessDirectory(getpid()), false).descriptor
    }
  }

  @Test("a file that has become shorter is compared as far as it goes, zeros up to the page's end")
  func truncated() throws {
    // Mapped by hand: a cut takes relocated data away too, and unloading would not survive that.
    let path = NSTemporaryDirectory() + "nopscope-audit-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: path) }
    try Data(repeating: 0xc3, count: 65536).write(to: URL(fileURLWithPath: path))
    let descriptor = open(path, O_RDWR)
    defer { close(descriptor) }
    let mapped = mmap(nil, 65536, PROT_READ | PROT_EXEC, MAP_PRIVATE, descriptor, 0)
    try #require(mapped != MAP_FAILED)
    let start = CodeAddress(try #require(mapped))
    defer { munmap(mapped, 65536) }
    try #require(ftruncate(descriptor, 16384 + 100) == 0)
    let report = try audit(byPathOnly: true)
    #expect(!report.differences.contains { $0.module == path })
    #expect(
      report.uncompared.filter { $0.module == path } == [
        UncomparedText(
          module: path, address: start + 20480, length: 65536 - 20480, reason: .beyondEndOfFile)
      ])
    // Not ELF: only the offset in the file is known.
    try #require(mprotect(mapped, 4096, PROT_READ | PROT_WRITE) == 0)
    mapped?.storeBytes(of: 0x90, toByteOffset: 7, as: UInt8.self)
    try #require(mprotect(mapped, 4096, PROT_READ | PROT_EXEC) == 0)
    let found = try audit(byPathOnly: true).differences.filter { $0.module == path }
    #expect(found.map { "\($0)" } == ["\(path)@0x7: file c3, live 90"])
  }

  @Test("a module with text relocations is listed, its text being the loader's work")
  func textRelocations() throws {
    let source = """
      int puts(const char *);
      __asm__(".text; .globl audited; audited: .quad puts");
      """
    let library = try AuditedLibrary(source: source, options: ["-Wl,-z,notext"])
    let report = try audit(byPathOnly: false)
    #expect(report.differences(in: library).isEmpty)
    #expect(report.uncompared(in: library).map(\.reason) == [.textRelocations])
    #expect(!report.modules.contains(library.path))
  }

  @Test("what was unmapped during the audit is said to have vanished, not to differ")
  func vanished() throws {
    let library = try AuditedLibrary()
    try library.write([0x90], at: 1)
    let report = try auditText(of: getpid(), opensMapFiles: true) { library.unload() }
    // The written page was a mapping of its own.
    #expect(report.differences(in: library).isEmpty)
    #expect(report.uncompared(in: library).map(\.reason) == [.vanished, .vanished])
  }
}

@Suite("An audit that cannot be made says why")
struct AuditErrorTests {
  @Test("a process that has ended does not exist")
  func noProcess() throws {
    let child = try SleepingChild()
    let process = child.identifier
    child.end()
    #expect(throws: AuditError.noSuchProcess(process)) { try auditText(of: process) }
    #expect("\(AuditError.noSuchProcess(7))".hasPrefix("process 7: no such process; "))
  }

  @Test("a process that has ended and is not reaped has no text")
  func zombie() throws {
    let process = try spawn(["true"])
    var information = siginfo_t()
    waitid(P_PID, id_t(process), &information, WEXITED | WNOWAIT)
    defer { waitpid(process, nil, 0) }
    #expect(throws: AuditError.noText(process)) { try auditText(of: process) }
  }

  @Test("a refusal names the file and what would help")
  func refused() {
    let error = AuditError.refused(7, path: "/proc/7/mem", errno: EACCES)
    #expect(
      "\(error)" == "process 7: opening /proc/7/mem: Permission denied; audit a process of your "
        + "own, or as root (kernel.yama.ptrace_scope may restrict it to descendants)")
  }
}

@Suite("Lines of /proc/PID/maps")
struct MemoryMappingTests {
  @Test("a file's mapping is parsed, its path with blanks, newlines and all")
  func parsed() throws {
    let line = #"7f00a000-7f00c000 r-xp 00028000 fe:1f 1835082       /tmp/a  b\012c.so (deleted)"#
    let mapping = try #require(MemoryMapping(line: Array(line.utf8)))
    #expect(mapping.start == 0x7f00_a000)
    #expect(mapping.end == 0x7f00_c000)
    #expect(mapping.isExecutable)
    #expect(mapping.fileOffset == 0x28000)
    #expect(mapping.deviceMajor == 0xfe)
    #expect(mapping.deviceMinor == 0x1f)
    #expect(mapping.inode == 1_835_082)
    #expect(mapping.isDeleted)
    #expect(mapping.path == "/tmp/a  b\nc.so (deleted)")
  }

  @Test(
    "memory of no file, and what is no mapping at all, is left out",
    arguments: [
      "7f00a000-7f00c000 rw-p 00000000 00:00 0 ", "7ffc0000-7ffd0000 r-xp 00000000 00:00 0  [vdso]",
      "7f00c000-7f00a000 r-xp 00000000 fe:00 5 /a", "7f00a000 r-xp 00000000 fe:00 5 /a",
      "7f00a000-7f00c000 r-x 00000000 fe:00 5 /a", "", "-", "g-h r-xp 0 0:0 5 /a",
    ])
  func leftOut(line: String) {
    #expect(MemoryMapping(line: Array(line.utf8)) == nil)
  }
}
