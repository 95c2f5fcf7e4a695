// SPDX-License-Identifier: Apache-2.0

import ELFImage
public import Units

/// The functions of a file that look at their return address, or hand it over.
///
/// A trampoline's address there would be taken for the caller, so the return of such a function
/// cannot be hooked.
///
/// - It ends in a tail call of a function of libc that knows its caller by the return address:
///   dlopen searches by the caller's RUNPATH, dlsym(RTLD_NEXT) behind the caller (glibc 2.36,
///   dlfcn/ and elf/). A jump through a register is not recognised.
/// - It reads it (`__builtin_return_address(0)`): from 8(%rbp) where it has a frame, or near its
///   entry from where its pushes and its `sub` have left it above the stack pointer. Bytes are
///   compared and not decoded, so another function may rarely be taken for one.
public struct ReturnAddressUsers: Sendable {
  /// Link-time addresses of their first bytes.
  public let functionStarts: Set<ModuleOffset>

  /// Functions of libc that look at their return address.
  static let names: [StaticString] = [
    "dlopen", "dlmopen", "dlsym", "dlvsym", "dladdr", "dladdr1", "dl_iterate_phdr",
  ]
  /// Relocations that a real file has for them: one or two each.
  private static let mostSlots = 64

  /// Looks at the functions of `image` that have call sites: `sites`, by offset.
  init(_ image: ELFImage, _ sites: [CallSite], _ names: FunctionNames) throws(ELFError) {
    guard !sites.isEmpty else {
      functionStarts = []
      return
    }
    let entries = EntryCode(image)
    functionStarts = try Self.tailCallers(image, names)
      .union(Self.entryReaders(image, sites, entries))
      .union(Self.frameReaders(image, entries, names))
  }

  /// The functions that read it near their entries.
  ///
  /// Each is looked at as far as the next call site's function. Where it seems to read its return
  /// address, that may be a function behind it that has no call site, so it is looked at again as
  /// far as it goes itself. That costs a reading of all extents, and few files need it.
  private static func entryReaders(
    _ image: ELFImage, _ sites: [CallSite], _ entries: EntryCode
  ) throws(ELFError) -> Set<ModuleOffset> {
    var readers: [CallSite] = []
    for (index, site) in sites.enumerated() where site.kind != .mcount {
      let end = index + 1 < sites.count ? sites[index + 1].functionStart : .max
      if entries.readsReturnAddress(site, before: end) { readers.append(site) }
    }
    if readers.isEmpty { return [] }
    let extents = try FunctionExtents(image)
    readers.removeAll { site in
      guard let index = extents.index(before: site.offset),
        extents.extents[index].contains(site.offset)
      else { return false }
      return !entries.readsReturnAddress(site, before: extents.extents[index].upperBound)
    }
    return Set(readers.map(\.functionStart))
  }

  /// A file that imports none of these functions is not scanned.
  private static func tailCallers(
    _ image: ELFImage, _ names: FunctionNames
  ) throws(ELFError) -> Set<ModuleOffset> {
    let slots = try slots(image)
    guard !slots.isEmpty else { return [] }
    var stubs: [ModuleOffset] = []
    for segment in image.executableSegments {
      CallSiteScanner.stubs(in: segment, of: image, through: slots) { _, stub in
        if stubs.count < mostSlots { stubs.append(stub) }
      }
    }
    var jumps: [ModuleOffset] = []
    for segment in image.executableSegments {
      jumps += CallSiteScanner.jumps(in: segment, of: image, to: stubs, through: slots)
    }
    // A stub is such a jump, too. No call site is in it, so that its start does no harm.
    return try jumps.isEmpty ? [] : functions(at: jumps, image, names)
  }

  private static func frameReaders(
    _ image: ELFImage, _ entries: EntryCode, _ names: FunctionNames
  ) throws(ELFError) -> Set<ModuleOffset> {
    var reads: [ModuleOffset] = []
    for segment in image.executableSegments {
      reads += CallSiteScanner.frameReads(in: segment, of: image)
    }
    if reads.isEmpty { return [] }
    return try functions(at: reads, image, names).filter { entries.hasFrame($0) }
  }

  private static func slots(_ image: ELFImage) throws(ELFError) -> [ModuleOffset] {
    var slots: [ModuleOffset] = []
    try image.forEachImportSlot { slot, symbol, symbols in
      guard slots.count < mostSlots, names.contains(where: { symbols.isNamed($0, symbol) }) else {
        return
      }
      slots.append(slot)
    }
    return slots
  }

  /// The functions that contain `places`, and those whose cold part does: compilers place a part
  /// that seldom runs elsewhere, as a function NAME.cold.
  private static func functions(
    at places: [ModuleOffset], _ image: ELFImage, _ names: FunctionNames
  ) throws(ELFError) -> Set<ModuleOffset> {
    let extents = try FunctionExtents(image)
    var starts: Set<ModuleOffset> = []
    for place in places {
      guard let index = extents.index(before: place), extents.extents[index].contains(place) else {
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
