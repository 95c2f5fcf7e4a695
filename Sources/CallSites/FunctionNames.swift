// SPDX-License-Identifier: Apache-2.0

public import ELFImage
import Synchronization
import Units

/// Names of functions by address.
///
/// An index is made when the first name is looked up in it: patching needs none, and the dynamic
/// symbols have what the static ones lack, if anything. Where a file is stripped of its static symbols,
/// those of its debug file take their place.
final class FunctionNames: Sendable {
  private struct Index: Sendable {
    var symbols: SymbolTable
    /// The functions' symbols, by address, the best name of an address first.
    var byAddress: [(address: ModuleOffset, symbol: UInt32)]
  }

  /// The static symbols, and where they are from.
  private struct Static: Sendable {
    var index: Index?
    var origin: NameOrigin
  }

  private let image: ELFImage
  private let debugFiles: DebugFiles
  /// Each made when it is first used.
  private let statics = Mutex<Static?>(nil)
  private let dynamics = Mutex<Index??>(nil)

  init(_ image: ELFImage, _ debugFiles: DebugFiles) {
    self.image = image
    self.debugFiles = debugFiles
  }

  /// The name of the function that starts at a link-time address; nil where no symbol says.
  func name(at address: ModuleOffset) -> String? {
    if let index = staticSymbols().index, let name = Self.name(at: address, index) { return name }
    return dynamicIndex().flatMap { Self.name(at: address, $0) }
  }

  /// Where the names come from.
  var origin: NameOrigin {
    var origin = staticSymbols().origin
    if origin.source == nil, dynamicIndex() != nil { origin.source = .dynamicSymbols }
    return origin
  }

  private func staticSymbols() -> Static {
    statics.withLock { known in
      if let known { return known }
      let made = makeStatics()
      known = made
      return made
    }
  }

  private func makeStatics() -> Static {
    if image.hasStaticSymbols {
      let index = (try? image.staticSymbols()).flatMap { Self.index($0) }
      return Static(index: index, origin: NameOrigin(source: .symbols))
    }
    let found = debugFiles.find(for: image)
    var origin = NameOrigin(source: found.source.map { .debugFile($0) }, refusals: found.refusals)
    origin.isStripped = true
    return Static(index: found.symbols.flatMap { Self.index($0) }, origin: origin)
  }

  private func dynamicIndex() -> Index? {
    dynamics.withLock { known in
      if let known { return known }
      let made = (try? image.dynamicSymbols()).flatMap { Self.index($0) }
      known = .some(made)
      return made
    }
  }

  /// Nil where the symbols name no function.
  private static func index(_ symbols: SymbolTable) -> Index? {
    var keys: [(address: ModuleOffset, rank: UInt8, index: UInt32)] = []
    for index in 0..<symbols.count {
      guard let symbol = try? symbols[index], symbol.isDefined, symbol.isFunction else { continue }
      // Global, weak, local: the name that people know first.
      let rank: UInt8 = symbol.binding == 1 ? 0 : symbol.binding == 2 ? 1 : 2
      keys.append((symbol.value, rank, UInt32(index)))
    }
    if keys.isEmpty { return nil }
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

/// Where the names of a file's functions come from.
public struct NameOrigin: Equatable, Sendable {
  /// A table of symbols.
  public enum Source: Equatable, Sendable {
    /// .symtab.
    case symbols
    /// .symtab of the debug file at this path, or of the one in `.gnu_debugdata`.
    case debugFile(String)
    /// .dynsym: what the file exports.
    case dynamicSymbols
  }

  /// The best of them; nil where nothing names a function.
  public internal(set) var source: Source?
  /// Debug files that are there and are not used, one line each.
  public internal(set) var refusals: [DebugFileRefusal] = []
  /// Whether the file has no .symtab, so that its names depend on other files.
  public internal(set) var isStripped = false
}

extension NameOrigin: CustomStringConvertible {
  private static let advice = "install its debug symbols or do not strip it"

  /// One line: `.symtab`, a path, or what would help.
  public var description: String {
    switch source {
    case .symbols: ".symtab"
    case .debugFile(let path): path
    case .dynamicSymbols: ".dynsym, of exported functions only: \(Self.advice)"
    case nil: "none: \(Self.advice)"
    }
  }
}
