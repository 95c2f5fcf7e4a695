// SPDX-License-Identifier: Apache-2.0

public import ELFImage
public import Units

/// A place in the file through which mcount or __fentry__ is called.
public struct McountEntry: Equatable, Sendable {
  /// What is at the address.
  public enum Place: UInt8, Sendable {
    /// A PLT stub: `jmp *slot(%rip)`.
    case stub
    /// A GOT slot.
    case slot
    /// The function itself, defined in this file.
    case definition
  }

  /// `mcount`, `_mcount` or `__fentry__`.
  public var symbol: String
  /// Of the sites that call it.
  public var kind: CallSite.Kind
  /// What is at `address`.
  public var place: Place
  /// Link-time address.
  public var address: ModuleOffset
}

/// The addresses that a call must name exactly to be a call site.
public struct McountTargets: Equatable, Sendable {
  /// All places that are known, as they were found.
  public private(set) var entries: [McountEntry] = []

  /// What `e8` and `67 e8` may call: stubs and definitions.
  var calls: [McountEntry] { entries.filter { $0.place != .slot } }
  /// What `ff 15` may call through.
  var slots: [McountEntry] { entries.filter { $0.place == .slot } }

  static let names: [(symbol: StaticString, kind: CallSite.Kind)] = [
    ("mcount", .mcount), ("_mcount", .mcount), ("__fentry__", .fentry),
  ]

  /// Finds the slots by the relocations that fill them, the stubs by the slots they jump through,
  /// the definitions by their symbols.
  ///
  /// Sections are read only for what the loader does not need.
  public init(_ image: ELFImage) throws(ELFError) {
    try addDefinitions(image)
    try addSlots(image)
    try addConstantSlots(image)
    addStubs(image)
  }

  private mutating func add(_ entry: McountEntry) {
    // A hostile symbol table may define mcount a million times: real files have a few.
    guard entries.count < 64, !entries.contains(entry) else { return }
    entries.append(entry)
  }

  private mutating func addDefinitions(_ image: ELFImage) throws(ELFError) {
    for table in [try image.staticSymbols(), try image.dynamicSymbols()] {
      guard let table else { continue }
      for index in 0..<table.count {
        let symbol = try table[index]
        guard symbol.isDefined, symbol.isFunction || symbol.isUntyped,
          let name = Self.match(symbol, table)
        else { continue }
        add(
          McountEntry(
            symbol: "\(name.symbol)", kind: name.kind, place: .definition, address: symbol.value))
      }
    }
  }

  private static func match(
    _ symbol: Symbol, _ table: SymbolTable
  ) -> (symbol: StaticString, kind: CallSite.Kind)? {
    for name in names where table.isNamed(name.symbol, symbol) { return name }
    return nil
  }

  private mutating func addSlots(_ image: ELFImage) throws(ELFError) {
    try image.forEachImportSlot { slot, symbol, symbols in
      guard let name = Self.match(symbol, symbols) else { return }
      add(McountEntry(symbol: "\(name.symbol)", kind: name.kind, place: .slot, address: slot))
    }
  }

  /// Slots that need no lookup by name, because mcount is defined in this very file: the linker
  /// wrote its address there, or a relative relocation does.
  ///
  /// Only in the GOT: a program's own pointer to mcount is no slot.
  private mutating func addConstantSlots(_ image: ELFImage) throws(ELFError) {
    let definitions = entries.filter { $0.place == .definition }
    guard !definitions.isEmpty else { return }
    let tables = (image.sections(named: ".got") + image.sections(named: ".got.plt")).prefix(2)
    let extents = tables.map { $0.address..<($0.address.adding(exactly: $0.size) ?? .max) }
    for table in try image.dynamicRelocations() {
      for index in 0..<table.count {
        let relocation = try table[index]
        guard relocation.type == Relocation.Kind.relative,
          extents.contains(where: { $0.contains(relocation.offset) })
        else { continue }
        addSlot(
          relocation.offset, holding: ModuleOffset(UInt64(bitPattern: relocation.addend)),
          definitions)
      }
    }
    for section in tables where section.isInFile {
      for offset in stride(from: UInt64(0), to: section.size & ~7, by: 8) {
        let value = try image.bytes.load(UInt64.self, at: section.fileOffset + offset, "the GOT")
        addSlot(section.address &+ offset, holding: ModuleOffset(value), definitions)
      }
    }
  }

  private mutating func addSlot(
    _ address: ModuleOffset, holding value: ModuleOffset, _ definitions: [McountEntry]
  ) {
    for definition in definitions where definition.address == value {
      var slot = definition
      slot.place = .slot
      slot.address = address
      add(slot)
    }
  }

  /// A stub is `jmp *slot(%rip)`, after endbr64 or a bnd prefix or neither, wherever it is:
  /// .plt, .plt.sec, .plt.got, and files without section headers.
  private mutating func addStubs(_ image: ELFImage) {
    let slots = self.slots
    guard !slots.isEmpty else { return }
    let addresses = slots.map(\.address)
    for segment in image.executableSegments {
      CallSiteScanner.stubs(in: segment, of: image, through: addresses) { slot, address in
        var stub = slots[slot]
        stub.place = .stub
        stub.address = address
        add(stub)
      }
    }
  }
}
