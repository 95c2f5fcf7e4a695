// SPDX-License-Identifier: Apache-2.0

import ELFImage
public import Units

/// The functions of a file that end in a tail call of a function that looks at its return address.
///
/// dlopen searches by the RUNPATH of its caller, dlsym(RTLD_NEXT) behind its caller, and they know
/// the caller by their return address (glibc 2.36, dlfcn/ and elf/). A function that jumps to one of
/// them hands over its own return address. A trampoline's address there would be taken for the
/// caller, so the return of such a function cannot be hooked. A jump through a register is not
/// recognised.
public struct TailCallers: Sendable {
  /// Link-time addresses of their first bytes.
  public let functionStarts: Set<ModuleOffset>

  /// Functions of libc that look at their return address.
  static let names: [StaticString] = [
    "dlopen", "dlmopen", "dlsym", "dlvsym", "dladdr", "dladdr1", "dl_iterate_phdr",
  ]
  /// Relocations that a real file has for them: one or two each.
  private static let mostSlots = 64

  /// Finds the jumps to these functions and the functions that they are in.
  ///
  /// A file that imports none of them is not scanned.
  init(_ image: ELFImage, _ names: FunctionNames) throws(ELFError) {
    let slots = try Self.slots(image)
    guard !slots.isEmpty else {
      functionStarts = []
      return
    }
    var stubs: [ModuleOffset] = []
    for segment in image.executableSegments {
      CallSiteScanner.stubs(in: segment, of: image, through: slots) { _, stub in
        if stubs.count < Self.mostSlots { stubs.append(stub) }
      }
    }
    var jumps: [ModuleOffset] = []
    for segment in image.executableSegments {
      jumps += CallSiteScanner.jumps(in: segment, of: image, to: stubs, through: slots)
    }
    // A stub is such a jump, too. No call site is in it, so that its start does no harm.
    functionStarts = try jumps.isEmpty ? [] : Self.functions(at: jumps, image, names)
  }

  private static func slots(_ image: ELFImage) throws(ELFError) -> [ModuleOffset] {
    guard let symbols = try image.dynamicSymbols() else { return [] }
    var slots: [ModuleOffset] = []
    for table in try image.dynamicRelocations() {
      for index in 0..<table.count {
        let relocation = try table[index]
        guard
          relocation.type == Relocation.Kind.jumpSlot
            || relocation.type == Relocation.Kind.globalData,
          relocation.symbol != 0, slots.count < mostSlots
        else { continue }
        let symbol = try symbols[Int(relocation.symbol)]
        if names.contains(where: { symbols.isNamed($0, symbol) }) {
          slots.append(relocation.offset)
        }
      }
    }
    return slots
  }

  /// The functions that contain `jumps`, and those whose cold part does: compilers place a part that
  /// seldom runs elsewhere, as a function NAME.cold.
  private static func functions(
    at jumps: [ModuleOffset], _ image: ELFImage, _ names: FunctionNames
  ) throws(ELFError) -> Set<ModuleOffset> {
    let extents = try FunctionExtents(image)
    var starts: Set<ModuleOffset> = []
    for jump in jumps {
      guard let index = extents.index(before: jump), extents.extents[index].contains(jump) else {
        continue
      }
      let start = extents.extents[index].lowerBound
      starts.insert(start)
      if let name = names.name(at: start), name.hasSuffix(".cold"),
        let hot = try image.address(ofSymbol: String(name.dropLast(".cold".count)))
      {
        starts.insert(hot)
      }
    }
    return starts
  }
}
