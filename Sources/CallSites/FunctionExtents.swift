// SPDX-License-Identifier: Apache-2.0

public import ELFImage
public import Units

/// Where functions begin and end, from symbols and from the unwinding tables: decoding must start
/// at a known instruction.
public struct FunctionExtents: Sendable {
  /// Link-time addresses, ascending, no start twice.
  public private(set) var extents: [Range<ModuleOffset>]

  /// Extents known from elsewhere: ascending, no start twice.
  init(extents: [Range<ModuleOffset>]) { self.extents = extents }

  /// Reads them from the file's unwind table and its symbols.
  public init(_ image: ELFImage) throws(ELFError) {
    var found = try image.unwindFunctions()
    let symbols = try image.staticSymbols()
    if let symbols { try Self.add(symbols, &found) }
    if let symbols = try image.dynamicSymbols() { try Self.add(symbols, &found) }
    extents = Self.merged(found)
  }

  private static func add(
    _ symbols: SymbolTable, _ found: inout [Range<ModuleOffset>]
  ) throws(ELFError) {
    for index in 0..<symbols.count {
      let symbol = try symbols[index]
      guard symbol.isDefined, symbol.isFunction else { continue }
      let end = symbol.value.adding(exactly: symbol.size) ?? symbol.value
      found.append(symbol.value..<end)
    }
  }

  /// Sorted by start; one that has no size (assembly) reaches to the next.
  private static func merged(_ found: [Range<ModuleOffset>]) -> [Range<ModuleOffset>] {
    let sorted = found.sorted {
      $0.lowerBound == $1.lowerBound
        ? $0.upperBound > $1.upperBound : $0.lowerBound < $1.lowerBound
    }
    var merged: [Range<ModuleOffset>] = []
    merged.reserveCapacity(sorted.count)
    for extent in sorted {
      guard let last = merged.last else {
        merged.append(extent)
        continue
      }
      if last.lowerBound == extent.lowerBound { continue }
      if last.isEmpty { merged[merged.count - 1] = last.lowerBound..<extent.lowerBound }
      merged.append(extent)
    }
    if let last = merged.last, last.isEmpty {
      merged[merged.count - 1] = last.lowerBound..<ModuleOffset.max
    }
    return merged
  }

  /// Index of the last function that starts at or before `address`; nil if none does.
  func index(before address: ModuleOffset) -> Int? {
    var low = 0
    var high = extents.count
    while low < high {
      let middle = (low + high) / 2
      if extents[middle].lowerBound <= address { low = middle + 1 } else { high = middle }
    }
    return low > 0 ? low - 1 : nil
  }
}
