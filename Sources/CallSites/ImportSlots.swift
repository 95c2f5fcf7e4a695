// SPDX-License-Identifier: Apache-2.0

import ELFImage
import Units

extension ELFImage {
  /// Calls `body` for each slot that the loader fills with the address of a symbol which it looks up
  /// by name: its link-time address, the symbol, and the table that has the symbol's name.
  func forEachImportSlot(
    _ body: (ModuleOffset, Symbol, SymbolTable) -> Void
  ) throws(ELFError) {
    guard let symbols = try dynamicSymbols() else { return }
    for table in try dynamicRelocations() {
      for index in 0..<table.count {
        let relocation = try table[index]
        let isSlot =
          relocation.type == Relocation.Kind.jumpSlot
          || relocation.type == Relocation.Kind.globalData
        guard isSlot, relocation.symbol != 0 else { continue }
        body(relocation.offset, try symbols[Int(relocation.symbol)], symbols)
      }
    }
  }
}
