// SPDX-License-Identifier: Apache-2.0

public import CRecordingABI
public import CallSites
public import ELFImage
import MachineCode
public import RecordingSchema

/// What the recorder knows of one file: every call site as a plan lists it, and the names.
///
/// All but the names follows from the file alone, so it can be kept between runs; `outsideNames` says
/// what the names depend on.
public struct FileSites: Sendable {
  /// By offset.
  ///
  /// The action is LEAVE and `function` is where the site's name begins in `symbols`: a planner
  /// sets both.
  public var entries: [nrec_plan_entry]
  /// The text of a `SymbolLine` for each site in this order: the body of a recording's symbol file.
  public var symbols: [UInt8]
  /// Places that looked like call sites and are none, by reason.
  public var skippedCounts: [SkippedReason]
  /// The loader itself writes into the text: it is to be left alone.
  public var hasTextRelocations: Bool
  /// What the names depend on besides the file; nil where it has symbols of its own.
  public var outsideNames: OutsideNames?

  /// A file without call sites.
  public static let none = FileSites(
    entries: [], symbols: [], skippedCounts: [], hasTextRelocations: false, outsideNames: nil)

  /// Places that looked like call sites and are none.
  public var skipped: Int { skippedCounts.reduce(0) { $0 + $1.count } }

  /// How much memory it takes, about.
  var bytes: Int { entries.count * MemoryLayout<nrec_plan_entry>.stride + symbols.count }

  /// The name at `start` in `symbols`; empty where no symbol said.
  func name(at start: UInt32) -> String {
    let start = Int(start)
    guard start <= symbols.count else { return "" }
    let end = symbols[start...].firstIndex(of: UInt8(ascii: "\n")) ?? symbols.count
    return String(decoding: symbols[start..<end], as: UTF8.self)
  }
}

extension FileSites {
  /// What a plan needs of `table`: entries decoded and named once, where its file is stripped from
  /// `debugFiles`.
  public init(_ table: SiteTable, decoder: Decoder, debugFiles: DebugFiles = .standard) {
    let table = table.named(by: debugFiles)
    self.init(
      entries: [], symbols: [], skippedCounts: [],
      hasTextRelocations: table.hasTextRelocations,
      outsideNames: table.sites.isEmpty ? nil : OutsideNames(table, debugFiles))
    // The symbols that could not be read here were read when the sites were found.
    let users = (try? table.returnAddressUsers())?.functionStarts ?? []
    let shape = EntryShape(image: table.image, decoder: decoder, returnAddressUsers: users)
    entries.reserveCapacity(table.sites.count)
    symbols.reserveCapacity(table.sites.count * 32)
    var unconfirmed = 0
    for site in table.sites {
      var entry = nrec_plan_entry()
      entry.offset = site.offset.rawValue
      entry.length = UInt8(site.length)
      entry.action = UInt8(NREC_ACTION_LEAVE)
      entry.flags = shape.flags(of: site)
      // The bytes of a site that are not in the file cannot have been decoded.
      guard table.copyOriginalBytes(of: site, into: &entry.expected) else {
        unconfirmed += 1
        continue
      }
      let line = SymbolLine(
        offset: site.offset, flags: entry.flags, name: table.functionName(of: site) ?? "")
      entry.function = UInt32(truncatingIfNeeded: line.append(to: &symbols))
      entries.append(entry)
    }
    skippedCounts = SkippedReason.counts(
      of: table.skipped, others: ["its bytes are not in the file": unconfirmed])
  }
}

extension nrec_plan_entry {
  /// Whether the file has a call there; else nops.
  var isCallInFile: Bool {
    switch (expected.0, expected.1) {
    case (0xe8, _), (0xff, 0x15), (0x67, 0xe8): true
    default: false
    }
  }
}

extension nrec_plan_entry {
  /// Whether its return cannot be hooked.
  var isEntryOnly: Bool { flags & UInt8(NREC_SITE_ENTRY_ONLY) != 0 }
}
