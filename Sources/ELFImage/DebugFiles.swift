// SPDX-License-Identifier: Apache-2.0

import CDebugFiles
import Glibc
import TextFormat

/// Finds the symbols that were stripped from a file: in /usr/lib/debug/.build-id, in the file that
/// .gnu_debuglink names, or in .gnu_debugdata, in this order.
///
/// The places are gdb's ("Debugging Information in Separate Files"). A file there counts only if it
/// proves that it belongs to the stripped one: by the same build-id, or by the CRC-32 that the stripped
/// one has of it.
public struct DebugFiles: Sendable {
  /// The distribution's folder, /usr/lib/debug.
  public var root: String
  /// liblzma's file name, for dlopen.
  public var decoder: String
  /// Bytes of debug files whose checksum is computed for one stripped file: half a second's worth. The
  /// traced program waits for its names, and chooses the files.
  public var mostChecked: UInt64

  /// Bytes that decompressed symbols, and their decoder, may take: a million functions' worth. A hostile
  /// file of a megabyte would otherwise become gigabytes.
  public var mostDecompressed: Int

  /// Where this machine keeps them.
  public static let standard = DebugFiles(root: "/usr/lib/debug")

  /// Looks below `root`, and decompresses by `decoder`.
  public init(
    root: String, decoder: String = "liblzma.so.5", mostChecked: UInt64 = 512 << 20,
    mostDecompressed: Int = 128 << 20
  ) {
    self.root = root
    self.decoder = decoder
    self.mostChecked = mostChecked
    self.mostDecompressed = mostDecompressed
  }

  /// Symbols that were found, and what was found on the way.
  public struct Found: Sendable {
    /// Nil where there are none.
    public var symbols: SymbolTable?
    /// Where they come from: a path, or `.gnu_debugdata`; nil where there are none.
    public var source: String?
    /// Files that are there and are not used.
    public var refusals: [DebugFileRefusal] = []
  }

  /// The symbols that belong to `image`, which has none of its own.
  public func find(for image: ELFImage) -> Found {
    var found = Found()
    let link = image.debugLink()
    var unchecked = mostChecked
    for candidate in candidates(path: image.path, buildID: image.buildID, link: link?.name) {
      do throws(DebugFileRefusal) {
        found.symbols =
          if candidate.isByBuildID {
            try symbols(candidate.path, buildID: image.buildID ?? [])
          } else {
            try symbols(candidate.path, checksum: link?.checksum ?? 0, &unchecked)
          }
        found.source = candidate.path
        return found
      } catch {
        if !error.isAbsence { found.refusals.append(error) }
      }
    }
    guard let range = image.embeddedSymbols else { return found }
    do throws(DebugFileRefusal) {
      found.symbols = try decompressed(range, of: image)
      found.source = ".gnu_debugdata"
    } catch {
      found.refusals.append(error)
    }
    return found
  }
}

// MARK: - Places

extension DebugFiles {
  struct Candidate: Equatable {
    var path: String
    /// Its name says which build it belongs to; else .gnu_debuglink named it.
    var isByBuildID: Bool
  }

  /// Where symbols of the file at `path` may be, the best place first.
  func candidates(path: String, buildID: [UInt8]?, link: String?) -> [Candidate] {
    var found: [Candidate] = []
    if let buildID, (2...64).contains(buildID.count) {
      let digits = hexDigits(buildID)
      let place = "\(root)/.build-id/\(digits.prefix(2))/\(digits.dropFirst(2)).debug"
      found.append(Candidate(path: place, isByBuildID: true))
    }
    guard let link, !link.isEmpty else { return found }
    let folder = Self.folder(of: path)
    for place in ["\(folder)/\(link)", "\(folder)/.debug/\(link)", "\(root)\(folder)/\(link)"] {
      found.append(Candidate(path: place, isByBuildID: false))
    }
    return found
  }

  /// The folder of the file itself, not of a link to it.
  private static func folder(of path: String) -> String {
    var whole = path
    if let resolved = realpath(path, nil) {
      whole = String(cString: resolved)
      free(resolved)
    }
    guard let slash = whole.lastIndex(of: "/") else { return "." }
    return String(whole[..<slash])
  }

  /// A number that is another when a debug file comes, goes or changes, for the file at `path`.
  ///
  /// `link` is the name in its .gnu_debuglink; empty where it has none. Looks at no contents.
  public func state(path: String, buildID: [UInt8], link: String) -> UInt64 {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325  // FNV-1a, word by word
    func add(_ number: Int) { hash = (hash ^ UInt64(bitPattern: Int64(number))) &* 0x100_0000_01b3 }
    for candidate in candidates(path: path, buildID: buildID, link: link) {
      var status = stat()
      guard stat(candidate.path, &status) == 0 else {
        add(-1)
        continue
      }
      // The time of change too: it is another after chmod, and cannot be set back.
      for time in [status.st_mtim, status.st_ctim] {
        add(time.tv_sec)
        add(time.tv_nsec)
      }
      add(Int(status.st_size))
      add(Int(truncatingIfNeeded: status.st_ino))
    }
    return hash
  }
}

// MARK: - Proofs

extension DebugFiles {
  private func symbols(
    _ path: String, buildID: [UInt8]
  ) throws(DebugFileRefusal) -> SymbolTable {
    let image = try Self.reduced(path)
    guard image.buildID == buildID else {
      throw .otherBuild(path: path, expected: buildID, found: image.buildID)
    }
    return try Self.symbols(of: image)
  }

  private func symbols(
    _ path: String, checksum: UInt32, _ unchecked: inout UInt64
  ) throws(DebugFileRefusal) -> SymbolTable {
    let found: UInt32
    do {
      let file = try RegularFile(path)
      guard file.size <= unchecked else {
        throw DebugFileRefusal.tooLargeToCheck(path: path, size: file.size, limit: mostChecked)
      }
      unchecked -= file.size
      found = try Self.checksum(of: file)
    } catch let error as ELFError {
      throw .unusable(error)
    } catch let error as DebugFileRefusal {
      throw error
    } catch {
      preconditionFailure("\(error)")
    }
    guard found == checksum else {
      throw .otherChecksum(path: path, expected: checksum, found: found)
    }
    return try Self.symbols(of: Self.reduced(path))
  }

  static func checksum(of file: RegularFile) throws(ELFError) -> UInt32 {
    var checksum: UInt32 = 0
    var offset: UInt64 = 0
    // No further than it was long at first: one that grows meanwhile is another file.
    while offset < file.size {
      let piece = try file.read(at: offset, count: Int(min(1 << 20, file.size - offset)))
      if piece.isEmpty { break }
      checksum = piece.withUnsafeBufferPointer { ndbg_crc32(checksum, $0.baseAddress, $0.count) }
      offset += UInt64(piece.count)
    }
    return checksum
  }

  static func reduced(
    _ path: String, _ content: ReducedFile.Content = .symbols
  ) throws(DebugFileRefusal) -> ELFImage {
    do {
      let file = try RegularFile(path)
      return try ReducedFile.image(path: path, content) { (offset, count) throws(ELFError) in
        try file.read(at: offset, count: count)
      }
    } catch {
      throw .unusable(error)
    }
  }

  private static func symbols(of image: ELFImage) throws(DebugFileRefusal) -> SymbolTable {
    let symbols: SymbolTable?
    do { symbols = try image.staticSymbols() } catch { throw .unusable(error) }
    guard let symbols else { throw .noSymbols(path: image.path) }
    return symbols
  }

  /// The symbols in the xz stream at `range` of `image`.
  private func decompressed(
    _ range: Range<Int>, of image: ELFImage
  ) throws(DebugFileRefusal) -> SymbolTable {
    var output: UnsafeMutablePointer<UInt8>?
    var length = 0
    let result = image.bytes.storage[range].withUnsafeBufferPointer { input in
      ndbg_xz_decode(
        decoder, input.baseAddress, input.count, mostDecompressed, &output, &length)
    }
    defer { free(output) }
    switch result {
    case NDBG_XZ_DONE: break
    case NDBG_XZ_NO_LIBRARY: throw .noDecoder(path: image.path, library: decoder)
    case NDBG_XZ_TOO_LARGE: throw .largeData(path: image.path, limit: mostDecompressed)
    case NDBG_XZ_OUT_OF_MEMORY: throw .outOfMemory(path: image.path)
    default: throw .damagedData(path: image.path)
    }
    let whole = UnsafeBufferPointer(start: output, count: length)
    let path = "\(image.path)(.gnu_debugdata)"
    do {
      let reduced = try ReducedFile.image(path: path) { (offset, count) throws(ELFError) in
        guard offset <= UInt64(whole.count) else { return [] }
        return Array(whole[Int(offset)..<min(whole.count, Int(offset) + count)])
      }
      return try Self.symbols(of: reduced)
    } catch let error as ELFError {
      throw .unusable(error)
    } catch let error as DebugFileRefusal {
      throw error
    } catch {
      preconditionFailure("\(error)")
    }
  }
}

extension DebugFileRefusal {
  /// Whether there is no such file, which is no wonder.
  var isAbsence: Bool {
    guard case .unusable(.unreadable(_, _, let errno)) = self else { return false }
    return errno == ENOENT || errno == ENOTDIR
  }
}
