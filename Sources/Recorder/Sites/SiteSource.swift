// SPDX-License-Identifier: Apache-2.0

import CallSites
public import ELFImage
import MachineCode
import TextFormat

/// Finds the sites of the files that processes load, each file once.
public final class SiteSource {
  /// What is known of one file.
  public enum Found {
    case sites(FileSites)
    /// Why it has none that could be used: one line.
    case refused(String)
  }

  private struct Key: Hashable {
    var path: String
    var buildID: [UInt8]
  }

  private let cache: SiteCache?
  let debugFiles: DebugFiles
  /// Nil until it is needed: opening Capstone takes milliseconds, and the cache may have
  /// everything.
  private var decoder: Decoder?
  /// Whether the next file that is new would have to wait for Capstone.
  public private(set) var isUnprepared = true
  private var known: [Key: (state: SiteCache.FileState, found: Found)] = [:]
  /// Of what is known, about.
  private var knownBytes = 0
  /// What was found and is not in the cache yet; beyond `mostUnkept` it is not put there.
  private var unkept: [(sites: FileSites, buildID: [UInt8], state: SiteCache.FileState)] = []

  /// Past that, what is known is forgotten, and looked for again where it is wanted again: a program
  /// may make as many files as it likes.
  private static let mostKnownBytes = 256 << 20
  private static let mostUnkept = SiteCache.longest

  /// Finds sites in files, and keeps them in `cache` where there is one. Names of stripped files come
  /// from `debugFiles`.
  public init(cache: SiteCache?, debugFiles: DebugFiles = .standard) {
    self.cache = cache
    self.debugFiles = debugFiles
  }

  /// The sites of the file at `path`, which was loaded with `buildID` (empty: it has none).
  ///
  /// A file that has been replaced since it was loaded is refused: its bytes are not the module's.
  public func sites(path: String, buildID: [UInt8]) -> Found {
    guard let state = SiteCache.FileState(path: path) else {
      return .refused("left alone: \(path) cannot be read: \(systemError(errnoNow()))")
    }
    let key = Key(path: path, buildID: buildID)
    if let known = known[key], known.state == state, isCurrent(known.found, key) {
      return known.found
    }
    let found = look(path, buildID, state)
    remember(found, as: key, state)
    return found
  }

  private func remember(_ found: Found, as key: Key, _ state: SiteCache.FileState) {
    if knownBytes > Self.mostKnownBytes {
      known = [:]
      knownBytes = 0
    }
    known[key] = (state, found)
    knownBytes += 512 + key.path.utf8.count
    if case .sites(let sites) = found { knownBytes += sites.bytes }
  }

  /// Whether no debug file has come, gone or changed since.
  private func isCurrent(_ found: Found, _ key: Key) -> Bool {
    guard case .sites(let sites) = found, let names = sites.outsideNames else { return true }
    return names.isCurrent(path: key.path, buildID: key.buildID, debugFiles)
  }

  /// Whether something was found that is not in the cache.
  public var hasUnkept: Bool { !unkept.isEmpty }

  /// Puts into the cache what was found since; to be called while no agent waits.
  public func keep() {
    if unkept.isEmpty { return }
    for one in unkept { cache?.keep(one.sites, buildID: one.buildID, file: one.state) }
    unkept = []
    cache?.prune()
  }

  /// Makes the types that the first file needs, before an agent waits for it.
  func prepareTypes() { known.reserveCapacity(RecordServer.usualCount) }

  /// Opens Capstone; to be called while no agent waits.
  public func prepare() {
    isUnprepared = false
    // Where this fails, the first file that needs Capstone gets the error.
    decoder = decoder ?? (try? Decoder())
  }

  private func look(_ path: String, _ buildID: [UInt8], _ state: SiteCache.FileState) -> Found {
    if let kept = cache?.sites(buildID: buildID, file: state) {
      let found = Found.sites(kept)
      if isCurrent(found, Key(path: path, buildID: buildID)) { return found }
    }
    if let file = QuickLook(path: path), !file.mayHaveSites() { return .sites(.none) }
    do {
      let decoder = try self.decoder ?? Decoder()
      self.decoder = decoder
      isUnprepared = false
      let table = try SiteTable.load(path: path, decoder: decoder)
      guard table.buildID ?? [] == buildID else {
        let expected = buildID.isEmpty ? "no build-id" : "build-id \(hexDigits(buildID))"
        let found = table.buildID.map { hexDigits($0) } ?? "none"
        return .refused("left alone: the file was replaced: expected \(expected), found \(found)")
      }
      let sites = FileSites(table, decoder: decoder, debugFiles: debugFiles)
      if cache != nil, unkept.count < Self.mostUnkept, sites.outsideNames?.mayImprove != true {
        unkept.append((sites, buildID, state))
      }
      return .sites(sites)
    } catch {
      return .refused("left alone: \(error)")
    }
  }
}
