// SPDX-License-Identifier: Apache-2.0

public import ELFImage
public import MachineCode
import TextFormat
import Units

/// Reads the section `.nopscope.sites`, trusting nothing in it.
struct RecordedReader {
  let image: ELFImage
  /// File offsets of the section.
  let range: Range<Int>
  private(set) var sites: [CallSite] = []
  private(set) var skipped: [SkippedSite] = []

  private var path: String { image.path }

  /// Throws `notRecorded` where the file has no such section.
  init(_ image: ELFImage) throws(SiteError) {
    self.image = image
    let sections = image.sections(named: ".nopscope.sites")
    guard let section = sections.first else { throw .notRecorded(path: image.path) }
    range = image.fileRange(of: section)
    guard sections.count == 1 else {
      throw bad("the file", expected: "one such section", found: "\(sections.count)")
    }
    try read()
  }

  private func bad(_ what: String, expected: String, found: String) -> SiteError {
    .badRecord(path: path, what: what, expected: expected, found: found)
  }

  private func load<T: FixedWidthInteger & BitwiseCopyable>(
    _ type: T.Type, at offset: Int
  ) throws(SiteError) -> T {
    guard offset >= 0, offset + MemoryLayout<T>.size <= range.count else {
      throw bad("size", expected: "more than \(offset) bytes", found: "\(range.count)")
    }
    do {
      return try image.bytes.load(type, at: UInt64(range.lowerBound + offset), "a recorded table")
    } catch {
      throw .image(error)
    }
  }

  private mutating func read() throws(SiteError) {
    let head = Array(image.bytes.storage[range].prefix(8))
    guard head == SiteSection.magic else {
      throw bad(
        "magic", expected: digitsOrNone(SiteSection.magic), found: digitsOrNone(head))
    }
    let version = try load(UInt32.self, at: 8)
    guard version == SiteSection.version else {
      throw bad("version", expected: "\(SiteSection.version)", found: "\(version)")
    }
    let start = try checkBuildID()
    let siteCount = try load(UInt64.self, at: 16)
    let skippedCount = try load(UInt64.self, at: 24)
    let room = UInt64(max(0, range.count - start))
    let (total, overflow) = siteCount.addingReportingOverflow(skippedCount)
    guard !overflow, total <= room / 16, total * 16 == room else {
      throw bad(
        "size", expected: "\(siteCount) sites and \(skippedCount) skipped, 16 bytes each",
        found: "\(room) bytes")
    }
    try readSites(at: start, count: Int(siteCount))
    try readSkipped(at: start + 16 * Int(siteCount), count: Int(skippedCount))
  }

  /// Where the entries start.
  private func checkBuildID() throws(SiteError) -> Int {
    let length = Int(try load(UInt32.self, at: 12))
    let start = SiteSection.headerSize
    guard (1...SiteSection.longestBuildID).contains(length), start + length <= range.count
    else {
      throw bad("length of the build-id", expected: "1 to 64 bytes", found: "\(length)")
    }
    let first = range.lowerBound + start
    let recorded = Array(image.bytes.storage[first..<(first + length)])
    guard recorded == image.buildID else {
      throw .otherBuild(path: path, expected: image.buildID ?? [], found: recorded)
    }
    return start + SiteSection.padded(length)
  }

  private mutating func readSites(at start: Int, count: Int) throws(SiteError) {
    sites.reserveCapacity(count)
    var end = ModuleOffset.zero
    for index in 0..<count {
      let at = start + 16 * index
      let site = try readSite(at: at, index)
      guard site.offset >= end else {
        throw bad(
          "entry \(index)", expected: "an address of \(end) or more",
          found: "\(site.offset): unsorted or overlapping")
      }
      guard let segment = image.segment(containing: site.offset), segment.isExecutable,
        segment.fileAddresses.upperBound - site.offset >= UInt64(site.length)
      else {
        throw bad(
          "entry \(index)", expected: "an address in an executable segment",
          found: "\(site.offset)")
      }
      end = site.offset + UInt64(site.length)
      sites.append(site)
    }
  }

  private func readSite(at: Int, _ index: Int) throws(SiteError) -> CallSite {
    let offset = try load(UInt64.self, at: at)
    let functionOffset = try load(UInt32.self, at: at + 8)
    let codes = try load(UInt32.self, at: at + 12)
    guard codes >> 16 == 0, let form = CallSite.Form(rawValue: UInt8(codes & 0xff)),
      let kind = CallSite.Kind(rawValue: UInt8(codes >> 8 & 0xff)),
      UInt64(functionOffset) <= offset
    else {
      throw bad(
        "entry \(index)", expected: "a known form and kind, and a function before the site",
        found: "\(hexAddress(codes)), \(hexAddress(functionOffset)) before \(hexAddress(offset))")
    }
    return CallSite(
      offset: ModuleOffset(offset), functionOffset: functionOffset, form: form, kind: kind)
  }

  private mutating func readSkipped(at start: Int, count: Int) throws(SiteError) {
    skipped.reserveCapacity(count)
    for index in 0..<count {
      let at = start + 16 * index
      let code = try load(UInt64.self, at: at + 8)
      guard code >> 16 == 0,
        let why = SkippedSite.Reason(code: UInt8(code & 0xff), bytes: UInt8(code >> 8 & 0xff))
      else {
        throw bad("skipped entry \(index)", expected: "a known reason", found: hexAddress(code))
      }
      skipped.append(SkippedSite(offset: ModuleOffset(try load(UInt64.self, at: at)), why: why))
    }
  }
}

extension SiteTable {
  /// The table that `nopscope recordmcount` wrote into the file: of this build, and every site of
  /// it confirmed by Capstone on the file's own bytes.
  public static func recorded(path: String, decoder: Decoder) throws(SiteError) -> SiteTable {
    let image: ELFImage
    do { image = try ELFImage(path: path) } catch { throw .image(error) }
    return try recorded(image, decoder: decoder)
  }

  /// The table that recordmcount wrote into the file, checked against its text.
  ///
  /// Throws where it has none or where it does not fit.
  public static func recorded(_ image: ELFImage, decoder: Decoder) throws(SiteError) -> SiteTable {
    let reader = try RecordedReader(image)
    let targets: McountTargets
    let known: FunctionExtents
    do {
      targets = try McountTargets(image)
      known = try FunctionExtents(image)
    } catch {
      throw .image(error)
    }
    let check = SiteSectionCheck(image, targets, decoder)
    try check.confirm(reader.sites, known)
    return SiteTable(image, targets, sites: reader.sites, skipped: reader.skipped)
  }

  /// The table recorded in the file where there is one, else discovery.
  ///
  /// A recorded table that is not this build's is an error, not a reason to search.
  public static func load(path: String, decoder: Decoder) throws(SiteError) -> SiteTable {
    let image: ELFImage
    do { image = try ELFImage(path: path) } catch { throw .image(error) }
    if image.sections(named: ".nopscope.sites").isEmpty {
      return try discover(image, decoder: decoder)
    }
    return try recorded(image, decoder: decoder)
  }
}
