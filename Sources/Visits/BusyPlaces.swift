// SPDX-License-Identifier: Apache-2.0
//
// While a process has one thread, glibc takes no locks in its allocator and its loader. A second
// thread must not begin while the first is there.

/// The text where the only thread of a process must not be.
struct BusyPlaces {
  private let ranges: [Range<UInt64>]

  private static let looked = 256 << 10

  init(_ state: LoaderState, _ memory: borrowing ProcessMemory) {
    let libc = state.libc
    func addresses(_ names: [String]) -> [UInt64] { names.compactMap { libc.symbol($0, memory) } }
    var ranges = state.loader.text
    // What the allocator does not export lies in front of what it does (glibc 2.31 to 2.40,
    // malloc.o is one piece of text).
    let allocator = addresses(Self.allocator)
    if let first = allocator.min(), let last = allocator.max() {
      ranges.append(first - min(first, Self.beforeAllocator)..<last + Self.longestFunction)
    }
    for fork in addresses(["fork", "_Fork"]) { ranges.append(fork..<fork + Self.longestFunction) }
    self.ranges = ranges
  }

  private static let allocator = [
    "malloc", "free", "calloc", "realloc", "memalign", "valloc", "pvalloc", "malloc_trim",
    "malloc_usable_size", "mallinfo", "mallinfo2", "malloc_stats", "mallopt", "posix_memalign",
    "malloc_info",
  ]
  private static let beforeAllocator: UInt64 = 12 << 10
  private static let longestFunction: UInt64 = 1 << 10

  /// Whether the thread is there, or may have to come back there: any word of its stack that is an
  /// address of one of these places counts, also one that an earlier call has left.
  func contain(
    pc: UInt64, stackPointer: UInt64, _ memory: borrowing ProcessMemory
  ) -> Bool {
    if isIn(pc) { return true }
    var at = stackPointer
    while at - stackPointer < UInt64(Self.looked) {
      let count = Int(4096 - at % 4096)
      guard let words = memory.read(at, count) else { return false }
      for offset in stride(from: 0, to: count - 7, by: 8)
      where isIn(words.number(UInt64.self, offset)) {
        return true
      }
      at += UInt64(count)
    }
    return false
  }

  private func isIn(_ address: UInt64) -> Bool { ranges.contains { $0.contains(address) } }
}
