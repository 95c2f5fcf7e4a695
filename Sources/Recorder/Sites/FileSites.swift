// SPDX-License-Identifier: Apache-2.0

public import CRecordingABI
public import CallSites
import MachineCode

/// What the recorder knows of one file: every call site as a plan lists it, and the names.
///
/// Everything in it follows from the file alone, so it can be kept between runs.
public struct FileSites: Sendable {
  /// By offset.
  ///
  /// The action is LEAVE and `function` is where the site's name begins in `symbols`: a planner
  /// sets both.
  public var entries: [nrec_plan_entry]
  /// Lines `HEXOFFSET TAB FLAGS TAB NAME`, one a site in this order: the body of a recording's
  /// file of symbols.
  public var symbols: [UInt8]
  /// Places that looked like call sites and are none, by reason.
  public var skippedCounts: [SkippedCount]
  /// The loader itself writes into the text: it is to be left alone.
  public var hasTextRelocations: Bool

  /// A file without call sites.
  public static let none = FileSites(
    entries: [], symbols: [], skippedCounts: [], hasTextRelocations: false)

  /// Places that looked like call sites and are none.
  public var skipped: Int { skippedCounts.reduce(0) { $0 + $1.count } }

  /// The name at `start` in `symbols`; empty where no symbol said.
  func name(at start: UInt32) -> String {
    let start = Int(start)
    guard start <= symbols.count else { return "" }
    let end = symbols[start...].firstIndex(of: UInt8(ascii: "\n")) ?? symbols.count
    return String(decoding: symbols[start..<end], as: UTF8.self)
  }
}

extension FileSites {
  public init(_ table: SiteTable, decoder: Decoder) {
    self.init(
      entries: [], symbols: [], skippedCounts: [],
      hasTextRelocations: table.hasTextRelocations)
    let shape = EntryShape(image: table.image, decoder: decoder)
    entries.reserveCapacity(table.sites.count)
    symbols.reserveCapacity(table.sites.count * 32)
    var unconfirmed = 0
    for site in table.sites {
      var entry = nrec_plan_entry()
      entry.offset = site.offset
      entry.length = UInt8(site.length)
      entry.action = UInt8(NREC_ACTION_LEAVE)
      entry.flags = shape.flags(of: site)
      // A site whose bytes are not in the file was not confirmed by anybody.
      guard table.copyOriginalBytes(of: site, into: &entry.expected) else {
        unconfirmed += 1
        continue
      }
      appendHexadecimal(site.offset)
      symbols.append(UInt8(ascii: "\t"))
      appendDecimal(entry.flags)
      symbols.append(UInt8(ascii: "\t"))
      entry.function = UInt32(truncatingIfNeeded: symbols.count)
      appendName(table.functionName(of: site) ?? "")
      symbols.append(UInt8(ascii: "\n"))
      entries.append(entry)
    }
    skippedCounts = SkippedCount.counts(
      of: table.skipped, others: ["its bytes are not in the file": unconfirmed])
  }

  // A program waits for this: no string is made on the way.
  private mutating func appendHexadecimal(_ number: UInt64) {
    var shift = number == 0 ? 0 : (63 - number.leadingZeroBitCount) & ~3
    while shift >= 0 {
      let digit = UInt8(truncatingIfNeeded: number >> UInt64(shift)) & 15
      symbols.append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") - 10 + digit)
      shift -= 4
    }
  }

  private mutating func appendDecimal(_ number: UInt8) {
    if number >= 100 { symbols.append(UInt8(ascii: "0") + number / 100) }
    if number >= 10 { symbols.append(UInt8(ascii: "0") + number / 10 % 10) }
    symbols.append(UInt8(ascii: "0") + number % 10)
  }

  /// Control bytes would break the line, and drive the terminal of whoever prints it.
  private mutating func appendName(_ name: String) {
    var name = name
    let isPlain = name.withUTF8 { bytes in
      let isPlain = bytes.allSatisfy { $0 >= 0x20 && $0 != 0x7f }
      if isPlain { symbols.append(contentsOf: bytes) }
      return isPlain
    }
    if isPlain { return }
    for byte in name.utf8 { symbols.append(byte < 0x20 || byte == 0x7f ? UInt8(ascii: "?") : byte) }
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
