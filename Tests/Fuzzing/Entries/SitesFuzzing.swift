// SPDX-License-Identifier: Apache-2.0

import CallSites
import ELFImage
import MachineCode
import Units

/// Discovery, the table that is recorded in the file, and reading that back.
struct SitesFuzzing {
  private let decoder: Decoder

  init() throws { decoder = try Decoder() }

  func run(_ input: [UInt8], _ broken: inout Broken) {
    guard let image = try? ELFImage(bytes: ELFBytes(path: "/nonexistent/input", storage: input))
    else { return }
    if let table = try? SiteTable.recorded(image, decoder: decoder) {
      check(table, "recorded", &broken)
    }
    guard let table = try? SiteTable.discover(image, decoder: decoder) else { return }
    check(table, "discovered", &broken)
    let named = table.named(by: DebugFiles(root: "/nonexistent", mostDecompressed: 1 << 20))
    for site in table.sites.prefix(64) { _ = named.functionName(of: site) }
    for skipped in table.skipped.prefix(64) { _ = skipped.reason }
    record(table, &broken)
  }

  /// What code that patches relies on.
  private func check(_ table: SiteTable, _ how: String, _ broken: inout Broken) {
    var end = ModuleOffset.zero
    for site in table.sites {
      broken.unless(
        site.offset >= end, "\(how): \(site.offset) overlaps or is unsorted")
      end = max(end, site.offset + UInt64(site.length))
      let segment = table.image.segment(containing: site.offset)
      broken.unless(segment?.isExecutable == true, "\(how): a site outside executable segments")
      broken.unless(site.functionStart <= site.offset, "\(how): a function after its site")
      let bytes = table.originalBytes(of: site)
      broken.unless(bytes.count == site.length, "\(how): a site whose bytes are not in the file")
      var copy: (UInt8, UInt8, UInt8, UInt8, UInt8, UInt8) = (0, 0, 0, 0, 0, 0)
      broken.unless(
        table.copyOriginalBytes(of: site, into: &copy) && copy.0 == bytes.first,
        "\(how): a site's bytes are read in two ways, and differ")
      checkTarget(site, table, how, &broken)
    }
  }

  /// A call goes where mcount or __fentry__ is, and nowhere else.
  private func checkTarget(
    _ site: CallSite, _ table: SiteTable, _ how: String, _ broken: inout Broken
  ) {
    let target = table.target(of: site)
    let places = table.mcountEntries
    switch site.form {
    case .e8, .addr32e8:
      broken.unless(
        places.contains { $0.place != .slot && $0.address == target }, "\(how): a call elsewhere")
    case .ff15:
      broken.unless(
        places.contains { $0.place == .slot && $0.address == target }, "\(how): another slot")
    case .nop5, .nop6, .nop1x5: broken.unless(target == .zero, "\(how): a nop with a target")
    }
  }

  /// The file with the table in it is read again; where that succeeds, it says the same.
  private func record(_ table: SiteTable, _ broken: inout Broken) {
    guard let file = try? table.recordedFile() else { return }
    guard let image = try? ELFImage(bytes: ELFBytes(path: "recorded", storage: file)),
      let again = try? SiteTable.recorded(image, decoder: decoder)
    else { return }
    broken.unless(again.sites == table.sites, "recording changes the sites")
    broken.unless(again.skipped == table.skipped, "recording changes the sites that are skipped")
  }
}
