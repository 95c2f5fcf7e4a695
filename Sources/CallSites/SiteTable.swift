// SPDX-License-Identifier: Apache-2.0

public import ELFImage
public import MachineCode
public import Units

/// All call sites of one file.
///
/// Names, bytes and targets are looked up in the file's image, which the table holds; a site itself
/// takes 16 bytes.
public struct SiteTable: Sendable {
  /// The file.
  public let image: ELFImage
  /// By offset, none twice.
  public let sites: [CallSite]
  /// By offset: what looked like a site and is not used, with the reason.
  public let skipped: [SkippedSite]
  /// What the sites call.
  public let targets: McountTargets
  private var names: FunctionNames

  /// The file's path.
  public var path: String { image.path }
  /// Nil: the file has none.
  public var buildID: [UInt8]? { image.buildID }
  /// Where this file calls mcount and __fentry__ through: PLT stubs, GOT slots, definitions.
  public var mcountEntries: [McountEntry] { targets.entries }
  /// DT_TEXTREL or DF_TEXTREL: the loader itself writes into the text, so that memory differs from
  /// the file without anybody's doing.
  public var hasTextRelocations: Bool { image.dynamic?.hasTextRelocations ?? false }

  init(
    _ image: ELFImage, _ targets: McountTargets, sites: [CallSite], skipped: [SkippedSite]
  ) {
    self.image = image
    self.targets = targets
    self.sites = sites
    self.skipped = skipped
    names = FunctionNames(image, .standard)
  }
}

// MARK: - Discovery

extension SiteTable {
  /// Finds the call sites of the file at `path`: by __mcount_loc, __patchable_function_entries and
  /// scanning its text, each confirmed by Capstone.
  public static func discover(path: String, decoder: Decoder) throws(SiteError) -> SiteTable {
    let image: ELFImage
    do { image = try ELFImage(path: path) } catch { throw .image(error) }
    return try discover(image, decoder: decoder)
  }

  /// The same for a file that is in memory already.
  public static func discover(
    _ image: ELFImage, decoder: Decoder
  ) throws(SiteError) -> SiteTable {
    guard image.header.fileType != .object else { throw .notLinked(path: image.path) }
    do {
      let targets = try McountTargets(image)
      let listed = try CompilerTables(image)
      let functions = try FunctionExtents(image)
      var candidates = CallSiteScanner(image, targets).scan()
      candidates += listed.mcountLocations.map { Candidate(offset: $0, source: .mcountLocation) }
      candidates.sort { $0.offset < $1.offset }
      var calls = CallSiteConfirmer(image, targets, functions, decoder)
      calls.confirm(candidates)
      var areas = CallSiteConfirmer(image, targets, functions, decoder)
      areas.confirmPatchable(listed.patchableAreas)
      areas.dropAreas(ofFunctionsIn: calls.sites)
      var skipped = merged(calls.skipped, areas.skipped) { $0.offset < $1.offset }
      let sites = apart(merged(calls.sites, areas.sites) { $0.offset < $1.offset }, &skipped)
      return SiteTable(image, targets, sites: sites, skipped: skipped)
    } catch {
      throw .image(error)
    }
  }

  /// Sites that share no byte.
  ///
  /// Two can only where functions begin inside one another's instructions, or where two of the
  /// compiler's tables list one place: the first stays.
  private static func apart(
    _ sites: [CallSite], _ skipped: inout [SkippedSite]
  ) -> [CallSite] {
    var end = ModuleOffset.zero
    var kept: [CallSite] = []
    kept.reserveCapacity(sites.count)
    var dropped: [SkippedSite] = []
    for site in sites {
      if site.offset >= end {
        kept.append(site)
        end = site.offset + UInt64(site.length)
      } else if site.offset != kept.last?.offset {
        dropped.append(SkippedSite(offset: site.offset, why: .notAnInstructionBoundary))
      }
    }
    if !dropped.isEmpty { skipped = merged(skipped, dropped) { $0.offset < $1.offset } }
    return kept
  }

  private static func merged<T>(_ one: [T], _ other: [T], by precedes: (T, T) -> Bool) -> [T] {
    // Most files have one of the two: nothing to do, and nothing to copy.
    if other.isEmpty { return one }
    if one.isEmpty { return other }
    return (one + other).sorted(by: precedes)
  }
}

// MARK: - What a site is made of

extension SiteTable {
  /// The site's bytes in the file: 5 or 6.
  public func originalBytes(of site: CallSite) -> [UInt8] {
    guard let start = image.fileOffset(ofAddress: site.offset, size: UInt64(site.length)) else {
      return []
    }
    return Array(image.bytes.storage[start..<(start + site.length)])
  }

  /// The same without allocating: fills the first `site.length` bytes of `bytes` and zeroes the
  /// rest.
  ///
  /// False where the site is not of this file.
  public func copyOriginalBytes(
    of site: CallSite, into bytes: inout (UInt8, UInt8, UInt8, UInt8, UInt8, UInt8)
  ) -> Bool {
    guard let start = image.fileOffset(ofAddress: site.offset, size: UInt64(site.length)) else {
      return false
    }
    let file = image.bytes.storage
    bytes = (
      file[start], file[start + 1], file[start + 2], file[start + 3], file[start + 4],
      site.length == 6 ? file[start + 5] : 0
    )
    return true
  }

  /// The link-time address that the site's instruction names: the destination of `e8` and `67 e8`,
  /// the GOT slot of `ff 15`, 0 for nops.
  public func target(of site: CallSite) -> ModuleOffset {
    let displacementOffset: UInt64
    switch site.form {
    case .e8: displacementOffset = 1
    case .ff15, .addr32e8: displacementOffset = 2
    case .nop5, .nop6, .nop1x5: return .zero
    }
    let length = UInt64(site.length)
    guard let start = image.fileOffset(ofAddress: site.offset, size: length),
      let displacement = try? image.bytes.load(
        Int32.self, at: UInt64(start) + displacementOffset, "a call site")
    else { return .zero }
    return (site.offset &+ length).displaced(by: displacement)
  }

  /// The function's name from the symbols, as linked; nil where neither the file nor a debug file has
  /// one.
  ///
  /// The first call looks for the debug file of a stripped file, and indexes the symbols.
  public func functionName(of site: CallSite) -> String? {
    names.name(at: site.functionStart)
  }

  /// The functions of the file whose returns must not be hooked, for they look at their return
  /// address or hand it over.
  public func returnAddressUsers() throws(ELFError) -> ReturnAddressUsers {
    try ReturnAddressUsers(image, sites, names)
  }

  /// The same table, which looks for a stripped file's symbols where `debugFiles` says.
  public func named(by debugFiles: DebugFiles) -> SiteTable {
    var table = self
    table.names = FunctionNames(image, debugFiles)
    return table
  }

  /// Where `functionName` has them from.
  public var nameOrigin: NameOrigin { names.origin }
}
