// SPDX-License-Identifier: Apache-2.0

import CPatchCore
import CallSites
import ELFImage
import MachineCode
import Units

/// Makes the pokes of a module's sites. Allocates nothing per site: a transaction of a hundred
/// thousand of them has some fifty nanoseconds for each, besides Capstone.
///
/// Why its reading is safe: `file` is the image's own bytes, valid while the closure runs that it
/// was handed to, and a place in it is used only where a loadable segment covers all of the site.
struct PokeBuilder {
  private let image: ELFImage
  private let loadBias: LoadBias
  private let file: UnsafeBufferPointer<UInt8>
  // Sites come in ascending order: the segment of the last one serves the next.
  private var addresses: Range<ModuleOffset> = .zero ..< .zero
  private var fileOffset = 0

  /// Builds for the module of `table` at `loadBias` (zero gives link-time addresses) from its
  /// sites.
  static func with<Result>(
    _ table: SiteTable, loadBias: LoadBias,
    _ body: (inout PokeBuilder, UnsafeBufferPointer<CallSite>) -> Result
  ) -> Result {
    table.image.bytes.storage.withUnsafeBufferPointer { file in
      var builder = PokeBuilder(image: table.image, loadBias: loadBias, file: file)
      return table.sites.withUnsafeBufferPointer { body(&builder, $0) }
    }
  }

  private init(image: ELFImage, loadBias: LoadBias, file: UnsafeBufferPointer<UInt8>) {
    self.image = image
    self.loadBias = loadBias
    self.file = file
  }

  /// What `site` holds in `state`; nil: the stub is out of reach.
  @inline(__always)
  mutating func code(of site: CallSite, in state: SiteState) -> Code? {
    switch state {
    case .original: return original(site)
    case .nop:
      // One that its compiler made one nop stays that very nop.
      return site.form == .nop5 || site.form == .nop6 ? original(site) : .nop(length: site.length)
    case .call(let stub):
      return .call(to: stub.address, at: loadBias + site.offset, length: site.length)
    }
  }

  /// From the bytes of `state` to `replacement`; nil: these are the same bytes.
  @inline(__always)
  mutating func poke(_ site: CallSite, from state: SiteState, to replacement: Code) -> npc_poke? {
    guard let expected = code(of: site, in: state), expected != replacement else { return nil }
    var poke = npc_poke()
    poke.address = (loadBias + site.offset).rawValue
    poke.length = UInt8(truncatingIfNeeded: expected.length)
    poke.expected = expected.tuple
    poke.replacement = replacement.tuple
    switch state {
    case .original: describe(site, expected, &poke)
    case .nop: poke.expected_kind = InstructionKind.nop.rawValue
    case .call(let stub):
      poke.expected_kind = InstructionKind.call.rawValue
      poke.target = stub.address.rawValue
    }
    return poke
  }

  @inline(__always)
  private func describe(_ site: CallSite, _ original: Code, _ poke: inout npc_poke) {
    poke.expected_kind = site.form.originalKind
    switch site.form {
    case .e8, .addr32e8, .ff15:
      // The displacement is the last four bytes of each, and counts from behind them.
      let displacement = Int32(
        truncatingIfNeeded: original.word >> UInt64(original.length * 8 - 32))
      poke.target =
        poke.address &+ UInt64(original.length) &+ UInt64(bitPattern: Int64(displacement))
    case .nop1x5: poke.flags = UInt8(NPC_POKE_RUN_OF_NOPS)
    case .nop5, .nop6: break
    }
  }

  /// The site's bytes in the file; no bytes where it is not of this file, which equal none.
  @inline(__always)
  private mutating func original(_ site: CallSite) -> Code {
    let length = site.length
    if !addresses.contains(site.offset) {
      guard let segment = image.segment(containing: site.offset) else {
        return Code(word: 0, length: 0)
      }
      addresses = segment.fileAddresses
      fileOffset = Int(segment.fileOffset)
    }
    guard addresses.upperBound - site.offset >= UInt64(length) else {
      return Code(word: 0, length: 0)
    }
    let start = fileOffset + Int(site.offset - addresses.lowerBound)
    let bytes = UnsafeRawBufferPointer(file)
    var word = UInt64(bytes.loadUnaligned(fromByteOffset: start, as: UInt32.self))
    word |= UInt64(bytes[start + 4]) << 32
    if length == 6 { word |= UInt64(bytes[start + 5]) << 40 }
    return Code(word: word, length: length)
  }
}
