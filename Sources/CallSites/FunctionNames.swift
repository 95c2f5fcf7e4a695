// SPDX-License-Identifier: Apache-2.0

import ELFImage
import Synchronization
import Units

/// Names of functions by address.
///
/// An index is made when the first name is looked up in it: patching needs none, and the dynamic
/// symbols have what the static ones lack, if anything.
final class FunctionNames: Sendable {
  private struct Index: Sendable {
    var symbols: SymbolTable
    /// The functions' symbols, by address, the best name of an address first.
    var byAddress: [(address: ModuleOffset, symbol: UInt32)]
  }

  private let image: ELFImage
  /// Of the static symbols, then of the dynamic ones, each made when it is first used.
  private let indices = Mutex<[Index?]>([])

  init(_ image: ELFImage) { self.image = image }

  /// The name of the function that starts at a link-time address; nil where no symbol says.
  func name(at address: ModuleOffset) -> String? {
    for place in 0..<2 {
      if let index = index(place), let name = Self.name(at: address, index) { return name }
    }
    return nil
  }

  private func index(_ place: Int) -> Index? {
    indices.withLock { indices in
      while indices.count <= place {
        let symbols = try? indices.isEmpty ? image.staticSymbols() : image.dynamicSymbols()
        indices.append(symbols.flatMap { Self.index($0) })
      }
      return indices[place]
    }
  }

  private static func index(_ symbols: SymbolTable) -> Index? {
    var keys: [(address: ModuleOffset, rank: UInt8, index: UInt32)] = []
    for index in 0..<symbols.count {
      guard let symbol = try? symbols[index], symbol.isDefined, symbol.isFunction else { continue }
      // Global, weak, local: the name that people know first.
      let rank: UInt8 = symbol.binding == 1 ? 0 : symbol.binding == 2 ? 1 : 2
      keys.append((symbol.value, rank, UInt32(index)))
    }
    keys.sort { ($0.address, $0.rank, $0.index) < ($1.address, $1.rank, $1.index) }
    return Index(symbols: symbols, byAddress: keys.map { ($0.address, $0.index) })
  }

  private static func name(at address: ModuleOffset, _ index: Index) -> String? {
    var low = 0
    var high = index.byAddress.count
    while low < high {
      let middle = (low + high) / 2
      if index.byAddress[middle].address < address { low = middle + 1 } else { high = middle }
    }
    guard low < index.byAddress.count, index.byAddress[low].address == address,
      let symbol = try? index.symbols[Int(index.byAddress[low].symbol)]
    else { return nil }
    let name = try? index.symbols.name(of: symbol)
    return name?.isEmpty == false ? name : nil
  }
}
