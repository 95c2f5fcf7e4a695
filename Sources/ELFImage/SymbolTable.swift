// SPDX-License-Identifier: Apache-2.0

public import Units

/// One symbol; its name stays in the file.
public struct Symbol: Equatable, Sendable {
  /// Link-time address, or offset in its section in an object file.
  public var value: ModuleOffset
  /// In bytes; 0 where unknown.
  public var size: UInt64
  /// Where its name is in the table of names.
  public var nameOffset: UInt32
  /// SHN_*, or the index of its section.
  public var section: UInt16
  var info: UInt8

  /// Whether the file has it: neither SHN_UNDEF nor SHN_COMMON.
  public var isDefined: Bool { section != 0 && section != 0xfff2 }  // SHN_UNDEF, SHN_COMMON
  /// STT_FUNC, or STT_GNU_IFUNC.
  public var isFunction: Bool { info & 15 == 2 || info & 15 == 10 }
  /// STT_NOTYPE: what assembly defines without a `.type`.
  public var isUntyped: Bool { info & 15 == 0 }
  /// 0 local, 1 global, 2 weak.
  public var binding: UInt8 { info >> 4 }
}

/// A table of symbols as a view into the file: nothing is copied.
public struct SymbolTable: Sendable {
  let bytes: ELFBytes
  /// File offset of the first symbol.
  let offset: UInt64
  /// Number of symbols.
  public let count: Int
  /// File offsets of the names.
  let names: Range<UInt64>

  static let entrySize: UInt64 = 24
  /// Longer names are damage, or an attack on a program that prints them.
  static let longestName: UInt64 = 4096

  /// The symbol at `index`, which is below `count`. Throws where the file ends before it.
  public subscript(index: Int) -> Symbol {
    get throws(ELFError) {
      guard index >= 0, index < count else {
        throw bytes.malformed(
          "a symbol's index", at: offset, expected: "less than \(count)", found: "\(index)")
      }
      let at = offset + UInt64(index) * Self.entrySize
      let what = "a symbol"
      return Symbol(
        value: ModuleOffset(try bytes.load(UInt64.self, at: at + 8, what)),
        size: try bytes.load(UInt64.self, at: at + 16, what),
        nameOffset: try bytes.load(UInt32.self, at: at, what),
        section: try bytes.load(UInt16.self, at: at + 6, what),
        info: try bytes.load(UInt8.self, at: at + 4, what))
    }
  }

  /// The symbol's name; bytes that are not UTF-8 are replaced.
  public func name(of symbol: Symbol) throws(ELFError) -> String {
    let text = try bytes.string(
      at: names.lowerBound + UInt64(symbol.nameOffset),
      before: min(
        names.upperBound, names.lowerBound + UInt64(symbol.nameOffset) + Self.longestName + 1),
      "a symbol's name")
    return String(decoding: text, as: UTF8.self)
  }

  /// Whether the symbol's name is `name`, without making a string of it.
  public func isNamed(_ name: StaticString, _ symbol: Symbol) -> Bool {
    bytes.equals(
      name, at: names.lowerBound + UInt64(symbol.nameOffset), before: names.upperBound)
  }

  func isNamed(_ name: [UInt8], _ symbol: Symbol) -> Bool {
    let start = names.lowerBound + UInt64(symbol.nameOffset)
    guard start < names.upperBound, names.upperBound - start > UInt64(name.count) else {
      return false
    }
    let end = Int(start) + name.count
    return bytes.storage[Int(start)..<end].elementsEqual(name) && bytes.storage[end] == 0
  }
}

extension SymbolTable {
  /// The table of a SHT_SYMTAB or SHT_DYNSYM section.
  init(_ section: Section, _ sections: [Section], _ bytes: ELFBytes) throws(ELFError) {
    let what = "a symbol table"
    let count = try section.entryCount(of: Self.entrySize, bytes, what)
    guard Int(section.link) < sections.count, sections[Int(section.link)].isInFile else {
      throw bytes.malformed(
        what, at: section.fileOffset, expected: "sh_link to a string table",
        found: "\(section.link)")
    }
    let strings = sections[Int(section.link)]
    self.init(
      bytes: bytes, offset: section.fileOffset, count: Int(count),
      names: strings.fileOffset..<(strings.fileOffset + strings.size))
  }
}
