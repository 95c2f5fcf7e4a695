// SPDX-License-Identifier: Apache-2.0

import ELFImage
import MachineCode
import Units

/// Confirms recorded sites the way that discovery does: each must come out of decoding from its
/// function's start exactly as it was recorded.
struct SiteSectionCheck {
  let image: ELFImage
  let targets: McountTargets
  let decoder: Decoder

  init(_ image: ELFImage, _ targets: McountTargets, _ decoder: Decoder) {
    self.image = image
    self.targets = targets
    self.decoder = decoder
  }

  /// Throws at the first of `sites` (ascending) that is not confirmed.
  ///
  /// Where the file's own symbols or unwinding tables know a site's function, `known`, they must
  /// agree about its start.
  func confirm(_ sites: [CallSite], _ known: FunctionExtents) throws(SiteError) {
    let functions = FunctionExtents(extents: try extents(sites, known))
    var calls = CallSiteConfirmer(image, targets, functions, decoder)
    calls.confirm(sites.filter { $0.kind != .patchable }.map(Self.candidate))
    var areas = CallSiteConfirmer(image, targets, functions, decoder)
    areas.confirmPatchable(sites.filter { $0.kind == .patchable }.map(\.offset))
    var found = (calls.sites[...], areas.sites[...])
    for site in sites {
      let isFound = site.kind == .patchable ? found.1.first == site : found.0.first == site
      guard isFound else {
        let why = (calls.skipped + areas.skipped).first { $0.offset >= site.offset }
        throw unconfirmed(site, why?.offset == site.offset ? why?.reason : nil)
      }
      if site.kind == .patchable { found.1.removeFirst() } else { found.0.removeFirst() }
    }
  }

  private static func candidate(_ site: CallSite) -> Candidate {
    switch site.form {
    case .e8: Candidate(offset: site.offset, source: .directCall)
    case .addr32e8: Candidate(offset: site.offset + 1, source: .directCall)
    case .ff15: Candidate(offset: site.offset, source: .slotCall)
    case .nop5, .nop6, .nop1x5: Candidate(offset: site.offset, source: .mcountLocation)
    }
  }

  /// One extent a function, from its start to its last site; none may overlap another, so that no
  /// byte is decoded twice.
  private func extents(
    _ sites: [CallSite], _ known: FunctionExtents
  ) throws(SiteError) -> [Range<ModuleOffset>] {
    var extents: [Range<ModuleOffset>] = []
    for site in sites {
      let start = site.functionStart
      let end = site.offset + UInt64(site.length)
      if let last = extents.last, last.lowerBound == start {
        extents[extents.count - 1] = start..<end
      } else if let last = extents.last, last.upperBound > start {
        throw unconfirmed(site, "a function's start (\(start)) before another's site")
      } else {
        extents.append(start..<end)
      }
      if let index = known.index(before: site.offset), known.extents[index].contains(site.offset),
        known.extents[index].lowerBound != start
      {
        throw unconfirmed(site, "a function that starts at \(known.extents[index].lowerBound)")
      }
    }
    return extents
  }

  private func unconfirmed(_ site: CallSite, _ found: String?) -> SiteError {
    let start = image.fileOffset(ofAddress: site.offset, size: UInt64(site.length))
    let bytes = start.map { Array(image.bytes.storage[$0..<($0 + site.length)]) } ?? []
    let text = bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: " ")
    return .unconfirmedRecord(
      path: image.path, offset: site.offset, form: site.form,
      found: text + (found.map { ", \($0)" } ?? ", \(decoder.text(bytes, at: site.offset))"))
  }
}
