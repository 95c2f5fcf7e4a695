// SPDX-License-Identifier: Apache-2.0
//
// The memory with which a helper thread begins:
//
//   code | stack | thread variables | thread control block | dtv | nvi_block | result | npc_outside
//
// libc's pthread_create looks at its caller's control block, and the allocator that it calls at its
// caller's thread variables. So a helper has both, as a thread that has just begun would.

import CPatchCore
import CVisit

/// The layout, as offsets from the beginning of the mapping.
struct HelperLayout {
  let stackTop, threadPointer, vector, block, result, table, bytes: Int
  /// For what the agent's function writes.
  static let resultBytes = 256
  static let codeBytes = 4096
  private static let stackBytes = 64 << 10

  init(variableBytes: Int, descriptorBytes: Int, vectorEntries: Int) {
    func aligned(_ offset: Int, _ to: Int = 64) -> Int { (offset + to - 1) / to * to }
    stackTop = Self.codeBytes + Self.stackBytes
    threadPointer = aligned(stackTop + variableBytes, 4096)
    vector = aligned(threadPointer + descriptorBytes)
    block = aligned(vector + (vectorEntries + 2) * 16)
    result = aligned(block + MemoryLayout<nvi_block>.size)
    table = aligned(result + Self.resultBytes)
    bytes = aligned(table + MemoryLayout<npc_outside>.size, 4096)
  }
}

/// What is written there.
struct HelperImage {
  let layout: HelperLayout
  private let variables: [(offset: UInt64, bytes: [UInt8])]
  private let vector: [UInt8]
  private let places: [(number: UInt64, offset: UInt64?)]
  private let guards: [UInt8]

  // tcbhead_t of glibc (sysdeps/x86_64/nptl/tls.h): bytes from its beginning.
  private static let ownAddress = 0, vectorAddress = 8, selfAddress = 16, multipleThreads = 24
  private static let guardsAddress = 40, guardsBytes = 16

  /// `threadPointer`: of the thread that is stopped, from which guards and the number of the loader's
  /// last change are taken.
  init(
    _ process: pid_t, _ state: LoaderState, threadPointer: UInt64,
    _ memory: borrowing ProcessMemory
  ) throws(VisitError) {
    var variables: [(UInt64, [UInt8])] = []
    var places: [(number: UInt64, offset: UInt64?)] = []
    var bytes: UInt64 = 0
    for module in state.modules {
      guard let image = module.threadImage, let place = state.threadVariables(module, memory) else {
        continue
      }
      places.append((place.number, place.offset))
      guard let offset = place.offset else { continue }
      bytes = max(bytes, offset)
      guard let initial = memory.read(image.address, Int(min(image.fileBytes, offset))) else {
        throw .notGlibc(process, missing: "readable thread variables")
      }
      variables.append((offset, initial))
    }
    guard
      let guards = memory.read(threadPointer + UInt64(Self.guardsAddress), Self.guardsBytes),
      let old = memory.number(UInt64.self, threadPointer + UInt64(Self.vectorAddress)),
      let generation = memory.number(UInt64.self, old)
    else { throw .notGlibc(process, missing: "readable thread control block") }
    let entries = Int(places.map(\.number).max() ?? 0) + 1
    layout = HelperLayout(
      variableBytes: Int(bytes) + 4096, descriptorBytes: Int(state.descriptorBytes),
      vectorEntries: entries)
    self.variables = variables
    self.guards = guards
    self.places = places
    vector = Self.vector(entries: entries, generation: generation)
  }

  /// dtv_t: the number of entries, then the generation, then an address and what is to be freed for
  /// each module.
  private static func vector(entries: Int, generation: UInt64) -> [UInt8] {
    var words = [UInt64](repeating: 0, count: (entries + 2) * 2)
    words[0] = UInt64(entries)
    words[2] = generation
    // TLS_DTV_UNALLOCATED
    for index in 2..<(entries + 2) { words[index * 2] = UInt64.max }
    return words.withUnsafeBytes(Array.init)
  }

  /// The mapping's contents behind its code, for a mapping at `start`.
  func bytes(at start: UInt64, block: nvi_block) -> [UInt8] {
    var all = [UInt8](repeating: 0, count: layout.result - HelperLayout.codeBytes)
    func put<T>(_ value: T, _ offset: Int) {
      all.withUnsafeMutableBytes {
        $0.storeBytes(of: value, toByteOffset: offset - HelperLayout.codeBytes, as: T.self)
      }
    }
    func put(_ bytes: [UInt8], _ offset: Int) {
      let at = offset - HelperLayout.codeBytes
      all.replaceSubrange(at..<(at + bytes.count), with: bytes)
    }
    for one in variables { put(one.bytes, layout.threadPointer - Int(one.offset)) }
    let pointer = start + UInt64(layout.threadPointer)
    put(pointer, layout.threadPointer + Self.ownAddress)
    put(start + UInt64(layout.vector) + 16, layout.threadPointer + Self.vectorAddress)
    put(pointer, layout.threadPointer + Self.selfAddress)
    put(UInt32(1), layout.threadPointer + Self.multipleThreads)
    put(guards, layout.threadPointer + Self.guardsAddress)
    put(vector, layout.vector)
    for place in places {
      guard let offset = place.offset else { continue }
      put(pointer - offset, layout.vector + 16 + Int(place.number) * 16)
    }
    put(block, layout.block)
    return all
  }
}
