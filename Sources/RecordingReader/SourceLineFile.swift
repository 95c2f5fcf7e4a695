// SPDX-License-Identifier: Apache-2.0

import RecordingSchema

/// Where a function is defined.
public struct SourceLine: Hashable, Sendable {
  /// The source file's path, as the compiler noted it.
  ///
  /// Not safe for a terminal as it is.
  public var file: String
  /// From 1.
  public var line: Int

  /// A line of a file.
  public init(file: String, line: Int) {
    self.file = file
    self.line = line
  }

  /// `FILE:LINE`.
  public var text: String { "\(file):\(line)" }
}

/// The source lines of one module's functions, from `symbols/NAME.lines`. Most recordings have none for
/// most functions.
struct SourceLineFile: Sendable {
  /// Nil where all is well, also where there is no such file; else one line.
  private(set) var problem: String?
  private var files: [String] = []
  /// By call site: the file's place and the line; 0: not known.
  private var lines: [(file: UInt32, line: UInt32)] = []

  /// What is beyond is not read.
  private static let longestFile = 256 << 20
  private static let mostFiles = 1 << 16
  /// Bytes of a source file's path that count: what is no UTF-8 becomes three each.
  private static let longestPath = 3 * 4096

  /// Knows no lines.
  init() {}

  /// `sites`: how many call sites the module has.
  init(path: String, name: String, sites: Int) {
    let bytes: [UInt8]
    do {
      bytes = try textFile(path, limit: Self.longestFile)
    } catch {
      if !error.isAbsence { problem = "symbols/\(name): \(error.reason): no source lines" }
      return
    }
    var rest = bytes[...]
    guard let header = SourceLinesHeader(SymbolFile.nextLine(&rest)),
      header.files <= Self.mostFiles
    else {
      problem =
        "symbols/\(name): expected \"nopscope.lines 1 COUNT FILES\" in line 1: no source lines"
      return
    }
    while files.count < header.files, !rest.isEmpty {
      let line = SymbolFile.nextLine(&rest)
      files.append(line.count <= Self.longestPath ? String(decoding: line, as: UTF8.self) : "")
    }
    readLines(&rest, header, sites, name)
  }

  private mutating func readLines(
    _ rest: inout ArraySlice<UInt8>, _ header: SourceLinesHeader, _ sites: Int, _ name: String
  ) {
    lines = Array(repeating: (0, 0), count: sites)
    var found = 0
    while found < header.count, !rest.isEmpty {
      guard let entry = SourceLineEntry(SymbolFile.nextLine(&rest)), Int(entry.site) < sites,
        Int(entry.file) < files.count
      else {
        problem =
          "symbols/\(name):\(header.files + found + 2): expected SITE, FILE and LINE between tabs, of "
          + "\(sites) sites and \(files.count) files: no source lines from here on"
        return
      }
      lines[Int(entry.site)] = (entry.file, entry.line)
      found += 1
    }
    if found != header.count {
      problem = "symbols/\(name): expected \(header.count) source lines, found \(found): truncated?"
    }
  }

  /// Where the function of a call site is defined; nil where that is not known.
  subscript(site: Int) -> SourceLine? {
    guard site < lines.count, lines[site].line > 0 else { return nil }
    let file = files[Int(lines[site].file)]
    return file.isEmpty ? nil : SourceLine(file: file, line: Int(lines[site].line))
  }
}
