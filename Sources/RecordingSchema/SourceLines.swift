// SPDX-License-Identifier: Apache-2.0

/// The first line of a file of source lines: `nopscope.lines 1 COUNT FILES`.
///
/// FILES lines follow, the paths of source files; then COUNT lines, a `SourceLineEntry` each.
public struct SourceLinesHeader: Sendable, Equatable {
  /// Functions whose source line is known.
  public var count: Int
  /// Source files.
  public var files: Int

  private static let mark = "nopscope.lines"
  private static let version = "1"

  /// The head of a file with these numbers of lines after it.
  public init(count: Int, files: Int) {
    self.count = count
    self.files = files
  }

  /// With its newline.
  public var line: [UInt8] { Array("\(Self.mark) \(Self.version) \(count) \(files)\n".utf8) }

  /// Nil where `line`, which has no newline, is anything else.
  public init?(_ line: ArraySlice<UInt8>) {
    let words = line.split(separator: 0x20, maxSplits: 3, omittingEmptySubsequences: false)
    guard words.count == 4, words[0].elementsEqual(Self.mark.utf8),
      words[1].elementsEqual(Self.version.utf8), let count = decimal(words[2]),
      let files = decimal(words[3])
    else { return nil }
    self.init(count: Int(count), files: Int(files))
  }
}

/// Where one function is defined: `SITE TAB FILE TAB LINE`, decimal.
public struct SourceLineEntry: Sendable, Equatable {
  /// The call site's place in the module's table, from 0.
  public var site: UInt32
  /// The source file's place in the list of files, from 0.
  public var file: UInt32
  /// From 1.
  public var line: UInt32

  /// The line of one function.
  public init(site: UInt32, file: UInt32, line: UInt32) {
    self.site = site
    self.file = file
    self.line = line
  }

  /// Adds the line with its newline to `bytes`.
  public func append(to bytes: inout [UInt8]) {
    bytes.append(contentsOf: "\(site)\t\(file)\t\(line)\n".utf8)
  }

  /// Nil where `line`, which has no newline, is anything else.
  public init?(_ line: ArraySlice<UInt8>) {
    // There may be a line for each of a million functions: no array is made for it.
    guard let first = line.firstIndex(of: 0x09),
      let second = line[(first + 1)...].firstIndex(of: 0x09),
      let site = decimal(line[..<first]), let file = decimal(line[(first + 1)..<second]),
      let number = decimal(line[(second + 1)...]), number > 0
    else { return nil }
    self.init(site: site, file: file, line: number)
  }
}

/// Digits alone, of a number that fits 32 bits.
private func decimal(_ digits: ArraySlice<UInt8>) -> UInt32? {
  guard !digits.isEmpty, digits.count <= 10 else { return nil }
  var number: UInt64 = 0
  for digit in digits {
    guard (0x30...0x39).contains(digit) else { return nil }
    number = number * 10 + UInt64(digit - 0x30)
  }
  return UInt32(exactly: number)
}
