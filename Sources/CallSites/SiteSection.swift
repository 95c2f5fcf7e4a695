// SPDX-License-Identifier: Apache-2.0
//
// The section `.nopscope.sites`: a file's call sites, written into the file itself when it is
// built. Not loaded at run time; all numbers little-endian.
//
//   offset      bytes
//   0           8      magic: "NOPSITES"
//   8           4      version: 1
//   12          4      L: bytes of the build-id, 1 to 64
//   16          8      S: number of sites
//   24          8      K: number of skipped places
//   32          L      the build-id of the file that the table belongs to
//   32 + L      0-7    zeros, up to a multiple of 8
//   ...         S*16   sites, ascending, none overlapping:
//                        8  link-time address of the first byte
//                        4  bytes from the start of its function
//                        1  form  (0 e8, 1 ff15, 2 67e8, 3 nop5, 4 nop6, 5 nop1x5)
//                        1  kind  (0 mcount, 1 fentry, 2 patchable)
//                        2  zeros
//   ...         K*16   skipped places, ascending:
//                        8  link-time address
//                        1  reason (`SkippedSite.Reason.code`)
//                        1  the reason's number of bytes; 0 where it names none
//                        6  zeros
//
// The section ends there. What it says is still data: a reader compares the build-id and lets
// Capstone confirm every site before it is used.

import ELFImage

enum SiteSection {
  static let magic: [UInt8] = Array("NOPSITES".utf8)
  static let version: UInt32 = 1
  static let headerSize = 32
  static let entrySize = 16
  static let longestBuildID = 64

  /// The section's contents.
  static func encode(_ table: SiteTable, buildID: [UInt8]) -> [UInt8] {
    var bytes = magic
    bytes.reserveCapacity(
      headerSize + padded(buildID.count) + entrySize * (table.sites.count + table.skipped.count))
    append(version, to: &bytes)
    append(UInt32(buildID.count), to: &bytes)
    append(UInt64(table.sites.count), to: &bytes)
    append(UInt64(table.skipped.count), to: &bytes)
    bytes += buildID
    bytes += [UInt8](repeating: 0, count: padded(buildID.count) - buildID.count)
    for site in table.sites {
      append(site.offset.rawValue, to: &bytes)
      append(site.functionOffset, to: &bytes)
      bytes += [site.form.rawValue, site.kind.rawValue, 0, 0]
    }
    for place in table.skipped {
      append(place.offset.rawValue, to: &bytes)
      bytes += [place.why.code.reason, place.why.code.bytes, 0, 0, 0, 0, 0, 0]
    }
    return bytes
  }

  static func padded(_ size: Int) -> Int { (size + 7) & ~7 }

  static func append<T: FixedWidthInteger>(_ value: T, to bytes: inout [UInt8]) {
    for index in 0..<MemoryLayout<T>.size {
      bytes.append(UInt8(truncatingIfNeeded: value >> (8 * index)))
    }
  }
}

extension SkippedSite.Reason {
  /// Its numbers in a recorded table.
  var code: (reason: UInt8, bytes: UInt8) {
    switch self {
    case .noFunctionStart: (0, 0)
    case .notAnInstructionBoundary: (1, 0)
    case .undecodable: (2, 0)
    case .otherInstruction: (3, 0)
    case .otherTarget: (4, 0)
    case .prefixedCall: (5, 0)
    case .outsideText: (6, 0)
    case .notAtFunctionEntry: (7, 0)
    case .overlappingArea: (8, 0)
    case .areaTooShort(let bytes): (9, bytes)
    case .instructionTooLong(let bytes): (10, bytes)
    case .mixedArea(let bytes): (11, bytes)
    case .functionHasCall: (12, 0)
    }
  }

  init?(code: UInt8, bytes: UInt8) {
    switch code {
    case 0: self = .noFunctionStart
    case 1: self = .notAnInstructionBoundary
    case 2: self = .undecodable
    case 3: self = .otherInstruction
    case 4: self = .otherTarget
    case 5: self = .prefixedCall
    case 6: self = .outsideText
    case 7: self = .notAtFunctionEntry
    case 8: self = .overlappingArea
    case 9: self = .areaTooShort(bytes: bytes)
    case 10: self = .instructionTooLong(bytes: bytes)
    case 11: self = .mixedArea(bytes: bytes)
    case 12: self = .functionHasCall
    default: return nil
    }
  }
}
