// SPDX-License-Identifier: Apache-2.0

import TextFormat

/// The build-id: the note by which the linker names one build's bytes.
enum BuildID {
  /// The first NT_GNU_BUILD_ID among the notes at `extents` (file offset and size); nil if none.
  static func find(
    _ extents: [(offset: UInt64, size: UInt64)], _ bytes: ELFBytes
  ) throws(ELFError) -> [UInt8]? {
    // Headers may claim the same notes many times over: look at no more than a file's worth.
    var budget = bytes.count
    for extent in extents {
      guard extent.size <= budget else {
        throw bytes.malformed(
          "the notes", at: extent.offset, expected: "notes that share no bytes",
          found: "more than the file holds")
      }
      budget -= extent.size
      if let found = try find(extent, bytes) { return found }
    }
    return nil
  }

  private static func find(
    _ extent: (offset: UInt64, size: UInt64), _ bytes: ELFBytes
  ) throws(ELFError) -> [UInt8]? {
    let end = extent.offset + extent.size
    var at = extent.offset
    while at <= end, end - at >= 12 {
      let what = "a note"
      let nameSize = UInt64(try bytes.load(UInt32.self, at: at, what))
      let size = UInt64(try bytes.load(UInt32.self, at: at + 4, what))
      let type = try bytes.load(UInt32.self, at: at + 8, what)
      let description = at + 12 + aligned(nameSize)
      guard description <= end, end - description >= size else {
        throw bytes.malformed(
          what, at: at, expected: "an end before \(hexAddress(end))",
          found: hexAddress(description + size))
      }
      if type == 3, nameSize == 4, bytes.equals("GNU", at: at + 12, before: end), size > 0 {
        return Array(bytes.storage[Int(description)..<Int(description + size)])
      }
      at = description + aligned(size)
    }
    return nil
  }

  private static func aligned(_ size: UInt64) -> UInt64 { (size + 3) & ~3 }
}
