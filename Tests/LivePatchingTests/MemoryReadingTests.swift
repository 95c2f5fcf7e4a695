// SPDX-License-Identifier: Apache-2.0

import CPatchCore
import Foundation
import TestSupport
import Testing

/// Asking the kernel whether a page can be read.
@Suite(.ownProcess) struct MemoryReadingTests {
  private static let pageBytes = 4096

  private func pages(_ count: Int, _ protection: Int32, _ file: Int32 = -1) throws -> UInt64 {
    let flags = file < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED
    let memory = mmap(nil, count * Self.pageBytes, protection, flags, file, 0)
    try #require(memory != MAP_FAILED)
    return UInt64(UInt(bitPattern: memory))
  }

  @Test func thePagesThatCanBeReadAreKnown() throws {
    let pages = try pages(3, PROT_READ | PROT_WRITE)
    let start = try #require(UnsafeMutableRawPointer(bitPattern: UInt(pages)))
    // The kernel compares the word with 1: it may have this value or another one.
    start.storeBytes(of: 1, as: UInt32.self)
    mprotect(start + Self.pageBytes, Self.pageBytes, PROT_NONE)
    munmap(start + 2 * Self.pageBytes, Self.pageBytes)
    let path = try TemporaryFolder.shared.fresh("short") + "/page"
    let file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    ftruncate(file, Self.pageBytes)
    let mapped = try self.pages(2, PROT_READ, file)
    let places = [
      pages, pages + 8, pages + 4095, pages + 4096, pages + 8192, mapped, mapped + 4096, 0, 1 << 63,
    ]
    let expected = [true, true, true, false, false, true, false, false, false]
    #expect(places.map { npc_page_is_readable($0) } == expected)
    close(file)
  }

  /// A search of stacks asks about thousands of pages while threads are stopped.
  @Test func askingNeverSleeps() throws {
    let count = 1000
    let pages = try pages(count, PROT_READ | PROT_WRITE)
    let before = try sleeps()
    for page in 0..<UInt64(count) { #expect(npc_page_is_readable(pages + page * 4096)) }
    #expect(try sleeps() - before < count / 10)
  }

  /// How often this thread gave up its CPU to wait.
  private func sleeps() throws -> Int {
    let status = try String(contentsOfFile: "/proc/thread-self/status", encoding: .utf8)
    let line = status.split(separator: "\n").first { $0.hasPrefix("voluntary_ctxt_switches:") }
    return try #require(line?.split(separator: "\t").last.flatMap { Int($0) })
  }
}
