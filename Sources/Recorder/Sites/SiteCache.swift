// SPDX-License-Identifier: Apache-2.0

import Glibc
import TextFormat

/// Sites of files by build-id, kept between runs: decoding a large library takes longer than many
/// a program runs.
///
/// A folder of the user's own, mode 0700. Whatever in it is a symbolic link, another's, writable
/// for others, damaged, of another version or of a file that has changed since is as if it were not
/// there: a cache never makes a run fail.
public struct SiteCache: Sendable {
  /// Of its folder.
  public let path: String
  /// Entries that `prune` leaves; past that the least recently written go.
  static let longest = 4096
  /// Bytes of the largest entry.
  static let largest = 256 << 20

  /// What a file must still be for its entry to count.
  public struct FileState: Equatable, Sendable {
    var size: Int64
    var modifiedSeconds: Int64
    var modifiedNanoseconds: Int64

    /// The state of the file at `path`; nil where it cannot be looked at.
    public init?(path: String) {
      var status = stat()
      guard path.withSystemText({ stat($0, &status) }) == 0,
        status.st_mode & S_IFMT == S_IFREG
      else { return nil }
      size = Int64(status.st_size)
      modifiedSeconds = Int64(status.st_mtim.tv_sec)
      modifiedNanoseconds = Int64(status.st_mtim.tv_nsec)
    }
  }

  /// A cache in the folder `path`, which is made when something is kept.
  public init(path: String) { self.path = path }

  /// $XDG_CACHE_HOME/nopscope or ~/.cache/nopscope; nil where the environment names neither by an
  /// absolute path (a relative one is to be ignored: XDG Base Directory Specification).
  public static func standard(environment: (String) -> String?) -> SiteCache? {
    if let folder = environment("XDG_CACHE_HOME"), folder.hasPrefix("/") {
      return SiteCache(path: folder + "/nopscope")
    }
    if let home = environment("HOME"), home.hasPrefix("/") {
      return SiteCache(path: home + "/.cache/nopscope")
    }
    return nil
  }
}

// MARK: - Looking up and keeping

extension SiteCache {
  /// The sites of the file with this build-id, if they are here and the file is as it was.
  public func sites(buildID: [UInt8], file: FileState) -> FileSites? {
    guard !buildID.isEmpty else { return nil }
    let folder = openFolder(creating: false)
    guard folder.number >= 0 else { return nil }
    let entry = Descriptor(
      openat(folder.number, hexDigits(buildID), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK))
    guard entry.number >= 0, Self.isOurs(entry.number, S_IFREG),
      let bytes = entry.readAll(limit: Self.largest)
    else { return nil }
    return SiteCacheEntry(buildID: buildID, file: file).decode(bytes)
  }

  /// Keeps the sites of a file; false where they cannot be written. `prune` bounds how many are kept.
  @discardableResult
  public func keep(_ sites: FileSites, buildID: [UInt8], file: FileState) -> Bool {
    let bytes = SiteCacheEntry(buildID: buildID, file: file).encode(sites)
    guard !buildID.isEmpty, bytes.count <= Self.largest else { return false }
    let folder = openFolder(creating: true)
    guard folder.number >= 0 else { return false }
    let temporary = ".new-\(getpid())-\(hexDigits(buildID))"
    let flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW
    let entry = Descriptor(openat(folder.number, temporary, flags, 0o600))
    guard entry.number >= 0 else { return false }
    // Renamed when it is whole: a reader sees the old one, the new one, or none.
    guard entry.write(bytes) == 0,
      renameat(folder.number, temporary, folder.number, hexDigits(buildID)) == 0
    else {
      unlinkat(folder.number, temporary, 0)
      return false
    }
    return true
  }

  /// Removes the oldest entries where there are too many: to be called once after many were kept, for
  /// it reads the whole folder.
  public func prune() {
    let folder = openFolder(creating: false)
    if folder.number >= 0 { Self.prune(folder.number) }
  }

  /// The folder, -1 where it is not ours alone.
  private func openFolder(creating: Bool) -> Descriptor {
    if creating {
      let parent = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? ""
      if !parent.isEmpty { mkdir(parent, 0o700) }
      mkdir(path, 0o700)
    }
    let number = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)
    guard number >= 0, !Self.isOurs(number, S_IFDIR) else { return Descriptor(number) }
    close(number)
    return Descriptor(-1)
  }

  /// Of the kind expected, owned by us, and closed to everyone else.
  private static func isOurs(_ descriptor: Int32, _ kind: mode_t) -> Bool {
    var status = stat()
    return fstat(descriptor, &status) == 0 && status.st_mode & S_IFMT == kind
      && status.st_uid == geteuid() && status.st_mode & 0o077 == 0
  }

  private static func prune(_ folder: Int32) {
    let copy = dup(folder)
    guard copy >= 0 else { return }
    guard let stream = fdopendir(copy) else {
      close(copy)
      return
    }
    defer { closedir(stream) }
    rewinddir(stream)
    var names: [String] = []
    while let entry = readdir(stream) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      if name != ".", name != ".." { names.append(name) }
    }
    guard names.count > longest else { return }
    var entries = names.map { (written: written($0, folder), name: $0) }
    entries.sort { $0.written < $1.written }
    for entry in entries.prefix(entries.count - longest) { unlinkat(folder, entry.name, 0) }
  }
  private static func written(_ name: String, _ folder: Int32) -> Int {
    var status = stat()
    return fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) == 0 ? Int(status.st_mtim.tv_sec) : 0
  }
}
