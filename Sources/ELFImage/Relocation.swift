// SPDX-License-Identifier: Apache-2.0

public import Units

/// One RELA relocation.
public struct Relocation: Equatable, Sendable {
  /// The types that lead to call sites (psABI for x86-64, table 4.9).
  public enum Kind {
    /// R_X86_64_64.
    public static let direct64: UInt32 = 1  // R_X86_64_64
    /// R_X86_64_GLOB_DAT.
    public static let globalData: UInt32 = 6  // R_X86_64_GLOB_DAT
    /// R_X86_64_JUMP_SLOT.
    public static let jumpSlot: UInt32 = 7  // R_X86_64_JUMP_SLOT
    /// R_X86_64_RELATIVE.
    public static let relative: UInt32 = 8  // R_X86_64_RELATIVE
  }

  /// Where it applies: link-time address; in an object file, offset in the section.
  public var offset: ModuleOffset
  /// r_addend.
  public var addend: Int64
  /// One of `Kind`, or another.
  public var type: UInt32
  /// Index into the symbol table; 0: none.
  public var symbol: UInt32
}

/// RELA relocations as a view into the file.
public struct RelocationTable: Sendable {
  let bytes: ELFBytes
  /// File offset of the first entry.
  let offset: UInt64
  /// Number of entries.
  public let count: Int

  static let entrySize: UInt64 = 24

  /// The entry at `index`, which is below `count`. Throws where the file ends before it.
  public subscript(index: Int) -> Relocation {
    get throws(ELFError) {
      let at = offset + UInt64(index) * Self.entrySize
      let what = "a relocation"
      let info = try bytes.load(UInt64.self, at: at + 8, what)
      return Relocation(
        offset: ModuleOffset(try bytes.load(UInt64.self, at: at, what)),
        addend: try bytes.load(Int64.self, at: at + 16, what),
        type: UInt32(truncatingIfNeeded: info), symbol: UInt32(info >> 32))
    }
  }
}
