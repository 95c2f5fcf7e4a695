// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A place in a function, as a symbol and an offset: `leaf+0x4`.
public struct FunctionPlace: Hashable, Sendable, CustomStringConvertible, Comparable {
  /// Its linked name.
  public var function: String
  /// Bytes from its start.
  public var offset: UInt64

  /// The place `offset` bytes into `function`.
  public init(function: String, offset: UInt64) {
    self.function = function
    self.offset = offset
  }

  /// `leaf+0x4`.
  public var description: String { "\(function)+0x\(String(offset, radix: 16))" }
  /// By name, then by offset.
  public static func < (a: Self, b: Self) -> Bool {
    (a.function, a.offset) < (b.function, b.offset)
  }
}

/// The call sites of an object file by the compiler's relocations, read with binutils' readelf.
///
/// This is independent of the code under test.
public struct ObjectFacts {
  /// One line of readelf -r.
  public struct Relocation {
    public var section, type, symbol: String
    /// In its section.
    public var offset: UInt64
    /// As readelf prints it.
    public var addend: Int64
  }

  private var sections: [Int: String] = [:]
  private var functions: [(section: String, value: UInt64, size: UInt64, name: String)] = []
  /// All of the file.
  public private(set) var relocations: [Relocation] = []

  /// Asks readelf. Throws where it fails.
  public init(object: String) throws {
    let text = try Tools.run("readelf", ["-SrsW", object])
    var section = ""
    for line in text.split(separator: "\n") {
      if line.hasPrefix("Relocation section '.rela") {
        section = String(line.split(separator: "'")[1].dropFirst(5))
      }
      parseSection(line)
      parseSymbol(line)
      parseRelocation(line, section)
    }
  }

  private mutating func parseSection(_ line: Substring) {
    guard let open = line.firstIndex(of: "["), let close = line.firstIndex(of: "]"), open < close,
      line[..<open].allSatisfy({ $0 == " " }),
      let index = Int(line[line.index(after: open)..<close].trimmingCharacters(in: .whitespaces))
    else { return }
    let words = line[line.index(after: close)...].split(separator: " ")
    if let name = words.first { sections[index] = String(name) }
  }

  // "    12: 0000000000000040    21 FUNC    GLOBAL DEFAULT    1 leaf"
  private mutating func parseSymbol(_ line: Substring) {
    let words = line.split(separator: " ").map(String.init)
    guard words.count >= 8, words[0].hasSuffix(":"), words[3] == "FUNC", let index = Int(words[6]),
      let section = sections[index], let value = UInt64(words[1], radix: 16),
      let size = UInt64(words[2])
    else { return }
    // gcc gives some functions a local alias. The global name goes first, so it is found first.
    let function = (section, value, size, words[7])
    functions.insert(function, at: words[4] == "GLOBAL" ? 0 : functions.count)
  }

  // "0000000000000005  0000000600000004 R_X86_64_PLT32 0000000000000000 mcount - 4"
  private mutating func parseRelocation(_ line: Substring, _ section: String) {
    let words = line.split(separator: " ").map(String.init)
    guard words.count >= 5, words[2].hasPrefix("R_X86_64_"),
      let offset = UInt64(words[0], radix: 16)
    else { return }
    var addend: Int64 = 0
    if words.count >= 7, let value = Int64(words[6], radix: 16) {
      addend = words[5] == "-" ? -value : value
    }
    relocations.append(
      Relocation(
        section: section, type: words[2], symbol: words[4], offset: offset, addend: addend))
  }

  private func place(_ section: String, _ offset: UInt64) -> FunctionPlace? {
    let found = functions.first {
      $0.section == section && offset >= $0.value && offset < $0.value + max($0.size, 1)
    }
    return found.map { FunctionPlace(function: $0.name, offset: offset - $0.value) }
  }

  /// The first byte of every call to mcount or __fentry__ that has a relocation.
  ///
  /// The relocation is at the displacement: after one byte in `e8`, after two in `ff 15`.
  public func mcountCalls() -> Set<FunctionPlace> {
    var places: Set<FunctionPlace> = []
    for relocation in relocations
    where ["mcount", "_mcount", "__fentry__"].contains(relocation.symbol) {
      let isSlot = relocation.type.contains("GOTPCREL")
      if let place = place(relocation.section, relocation.offset - (isSlot ? 2 : 1)) {
        places.insert(place)
      }
    }
    return places
  }

  /// Every address that `section` (__mcount_loc, __patchable_function_entries) lists.
  public func listed(in section: String) -> Set<FunctionPlace> {
    var places: Set<FunctionPlace> = []
    for relocation in relocations where relocation.section == section {
      if let place = place(relocation.symbol, UInt64(bitPattern: relocation.addend)) {
        places.insert(place)
      } else if let symbol = functions.first(where: { $0.name == relocation.symbol }) {
        places.insert(
          FunctionPlace(function: symbol.name, offset: UInt64(bitPattern: relocation.addend)))
      }
    }
    return places
  }
}
