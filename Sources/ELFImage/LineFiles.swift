// SPDX-License-Identifier: Apache-2.0

import Glibc
import TextFormat

/// Which file has a module's DWARF: the module's own, or one of its debug files.
extension DebugFiles {
  /// Its path; nil where there is none.
  ///
  /// `buildID` is the loaded module's; empty: it has none. A file of another build does not count. Reads
  /// section headers and notes, and no DWARF. A debug file that only .gnu_debuglink names proves by its
  /// build-id that it is the right one, or by its checksum.
  public func lineFile(path: String, buildID: [UInt8]) -> String? {
    guard let image = try? Self.reduced(path, .sectionNames), image.buildID ?? [] == buildID else {
      return nil
    }
    if Self.hasLines(image) { return Self.isReadable(path) ? path : nil }
    let link = image.debugLink()
    var unchecked = mostChecked
    for candidate in candidates(path: path, buildID: image.buildID, link: link?.name) {
      guard let found = try? Self.reduced(candidate.path, .sectionNames), Self.hasLines(found),
        Self.isReadable(candidate.path)
      else { continue }
      if let known = found.buildID, known == buildID { return candidate.path }
      guard !candidate.isByBuildID, found.buildID == nil || buildID.isEmpty, let link else {
        continue
      }
      if isChecked(candidate.path, link.checksum, &unchecked) { return candidate.path }
    }
    return nil
  }

  /// Compilers write .debug_line, .debug_info or both; .zdebug_ is how they once were compressed.
  private static func hasLines(_ image: ELFImage) -> Bool {
    !image.sections(named: ".debug_line").isEmpty || !image.sections(named: ".debug_info").isEmpty
      || !image.sections(named: ".zdebug_info").isEmpty
  }

  /// Whether its size is one that is read at all.
  private static func isReadable(_ path: String) -> Bool {
    guard let file = try? RegularFile(path) else { return false }
    return ELFImage.reads(size: Int(clamping: file.size), blocks: file.blocks)
  }

  private func isChecked(_ path: String, _ checksum: UInt32, _ unchecked: inout UInt64) -> Bool {
    guard let file = try? RegularFile(path), file.size <= unchecked else { return false }
    unchecked -= file.size
    return (try? Self.checksum(of: file)) == checksum
  }
}
