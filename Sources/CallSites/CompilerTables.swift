// SPDX-License-Identifier: Apache-2.0

import ELFImage
import Units

/// The sections in which compilers list call sites themselves: an array of addresses each.
struct CompilerTables {
  /// Ascending link-time addresses of __mcount_loc (gcc's -mrecord-mcount).
  private(set) var mcountLocations: [ModuleOffset] = []
  /// The same of __patchable_function_entries.
  private(set) var patchableAreas: [ModuleOffset] = []

  init(_ image: ELFImage) throws(ELFError) {
    mcountLocations = try Self.addresses("__mcount_loc", image)
    patchableAreas = try Self.addresses("__patchable_function_entries", image)
  }

  /// Addresses from the relocations' addends where the section is relocated (in a position
  /// independent file its contents may be zero), else from its contents.
  private static func addresses(
    _ name: StaticString, _ image: ELFImage
  ) throws(ELFError) -> [ModuleOffset] {
    var found: [ModuleOffset] = []
    let sections = image.sections(named: name).filter(\.isInFile)
    // A linker makes one. Each costs a walk through all relocations: no room for an attack.
    guard sections.count <= 16 else {
      throw .malformed(
        path: image.path, what: "the section \(name)", offset: sections[16].fileOffset,
        expected: "at most 16 of this name", found: "\(sections.count)")
    }
    for section in sections { found += try addresses(section, image) }
    found.sort()
    var unique: [ModuleOffset] = []
    for address in found where address != .zero && address != unique.last { unique.append(address) }
    return unique
  }

  private static func addresses(
    _ section: Section, _ image: ELFImage
  ) throws(ELFError) -> [ModuleOffset] {
    var slots: [ModuleOffset] = []
    slots.reserveCapacity(Int(section.size / 8))
    for offset in stride(from: UInt64(0), to: section.size & ~7, by: 8) {
      let at = section.fileOffset + offset
      slots.append(
        ModuleOffset(try image.bytes.load(UInt64.self, at: at, "a table of call sites")))
    }
    let symbols = try image.dynamicSymbols()
    for table in try image.dynamicRelocations() {
      for index in 0..<table.count {
        let relocation = try table[index]
        let distance = relocation.offset &- section.address
        guard relocation.offset >= section.address, distance % 8 == 0, distance / 8 < slots.count
        else { continue }
        let addend = UInt64(bitPattern: relocation.addend)
        switch relocation.type {
        case Relocation.Kind.relative: slots[Int(distance / 8)] = ModuleOffset(addend)
        case Relocation.Kind.direct64:
          let value = try symbols?[Int(relocation.symbol)].value ?? .zero
          slots[Int(distance / 8)] = value &+ addend
        default: break
        }
      }
    }
    return slots
  }
}
