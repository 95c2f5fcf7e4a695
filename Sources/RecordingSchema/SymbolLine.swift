// SPDX-License-Identifier: Apache-2.0

public import Units

/// The first line of a symbol file: `nopscope.symbols 1 COUNT PATH`.
public struct SymbolHeader: Sendable, Equatable {
  /// Call sites: as many lines follow.
  public var count: Int
  /// The module's.
  public var path: String

  private static let mark = "nopscope.symbols"
  private static let version = "1"

  /// The head of a file with `count` lines after it, for the module at `path`.
  public init(count: Int, path: String) {
    self.count = count
    self.path = path
  }

  /// With its newline. A path that has one of its own would be two lines.
  public var line: [UInt8] {
    let path = path.utf8.map { $0 == UInt8(ascii: "\n") ? UInt8(ascii: "?") : $0 }
    return Array("\(Self.mark) \(Self.version) \(count) ".utf8) + path + [UInt8(ascii: "\n")]
  }

  /// Nil where `line`, which has no newline, is anything else.
  public init?(_ line: ArraySlice<UInt8>) {
    let words = line.split(separator: 0x20, maxSplits: 3, omittingEmptySubsequences: false)
    guard words.count == 4, words[0].elementsEqual(Self.mark.utf8),
      words[1].elementsEqual(Self.version.utf8),
      let count = Int(String(decoding: words[2], as: UTF8.self)), count >= 0
    else { return nil }
    self.init(count: count, path: String(decoding: words[3], as: UTF8.self))
  }
}

/// A call site in a symbol file: `HEXADDRESS TAB FLAGS TAB NAME`, in the order of the table.
public struct SymbolLine: Sendable, Equatable {
  /// Of the call site's first byte.
  public var offset: ModuleOffset
  /// `NREC_SITE_*` bits.
  public var flags: UInt8
  /// As in the ELF file; empty where it is not known.
  public var name: String

  /// Longest name that counts, in bytes: of ELF's names 4,096 at most, and what is no UTF-8 becomes
  /// three each.
  private static let longestName = 3 * 4096

  /// The line of one call site.
  public init(offset: ModuleOffset, flags: UInt8, name: String) {
    self.offset = offset
    self.flags = flags
    self.name = name
  }

  /// Adds the line with its newline to `bytes`; where its name begins there.
  ///
  /// Control bytes in the name become `?`: they would break the line, and control the
  /// terminal that it is printed to. A traced program waits for this, so no string is made.
  @discardableResult
  public func append(to bytes: inout [UInt8]) -> Int {
    Self.appendHexadecimal(offset.rawValue, to: &bytes)
    bytes.append(UInt8(ascii: "\t"))
    Self.appendDecimal(flags, to: &bytes)
    bytes.append(UInt8(ascii: "\t"))
    let start = bytes.count
    var name = name
    name.withUTF8 { letters in
      bytes.append(contentsOf: letters)
      for index in letters.indices where letters[index] < 0x20 || letters[index] == 0x7f {
        bytes[start + index] = UInt8(ascii: "?")
      }
    }
    bytes.append(UInt8(ascii: "\n"))
    return start
  }

  private static func appendHexadecimal(_ number: UInt64, to bytes: inout [UInt8]) {
    var shift = number == 0 ? 0 : (63 - number.leadingZeroBitCount) & ~3
    while shift >= 0 {
      let digit = UInt8(truncatingIfNeeded: number >> UInt64(shift)) & 15
      bytes.append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") - 10 + digit)
      shift -= 4
    }
  }

  private static func appendDecimal(_ number: UInt8, to bytes: inout [UInt8]) {
    if number >= 100 { bytes.append(UInt8(ascii: "0") + number / 100) }
    if number >= 10 { bytes.append(UInt8(ascii: "0") + number / 10 % 10) }
    bytes.append(UInt8(ascii: "0") + number % 10)
  }

  /// Nil where `line`, which has no newline, is anything else.
  public init?(_ line: ArraySlice<UInt8>) {
    let words = line.split(separator: 0x09, maxSplits: 2, omittingEmptySubsequences: false)
    guard words.count == 3 else { return nil }
    var digits = words[0]
    if digits.starts(with: "0x".utf8) { digits = digits.dropFirst(2) }
    guard let offset = UInt64(String(decoding: digits, as: UTF8.self), radix: 16),
      let flags = UInt32(String(decoding: words[1], as: UTF8.self))
    else { return nil }
    // No writer makes a longer one: what it is shown as would be long for each of its calls.
    let isName = words[2].count <= Self.longestName
    self.init(
      offset: ModuleOffset(offset), flags: UInt8(truncatingIfNeeded: flags),
      name: isName ? String(decoding: words[2], as: UTF8.self) : "")
  }
}
