// SPDX-License-Identifier: Apache-2.0

import CRecorder
import CSourceLines
import ELFImage
import Glibc
import RecordingSchema
import TextFormat

/// Saves where the functions that were called are defined: once, when all processes have ended.
///
/// All of it has a time limit. What was found until then is saved.
struct SourceLineSaver {
  /// Where debug files are.
  var debugFiles: DebugFiles
  /// libdw's file name, for dlopen.
  var library = "libdw.so.1"
  /// For looking which functions were called.
  var callNanoseconds: UInt64 = 250_000_000
  /// For reading DWARF.
  var lineNanoseconds: UInt64 = 1_000_000_000

  private static let longestSymbols = 512 << 20

  /// A file whose lines are wanted.
  private struct Wanted {
    var file: LoadedFunctions.File
    /// That has the DWARF.
    var path: String
    /// Those that were called, by ascending addresses.
    var sites: [UInt32]
    var addresses: [UInt64]
  }

  /// Writes a file for each module with DWARF; what the user should know, one line each.
  ///
  /// `started` is when the recording began, in nanoseconds since 1970: a file without a build-id that is
  /// newer is not the one that was loaded.
  func save(_ loaded: LoadedFunctions, in folder: RecordingFolder, started: UInt64) -> [String] {
    let paths = loaded.files.map { file in
      isOld(file, started) ? debugFiles.lineFile(path: file.path, buildID: file.buildID) : nil
    }
    guard paths.contains(where: { $0 != nil }) else { return [] }
    var called = CalledSites(loaded)
    called.read(
      loaded, in: folder, deadline: nrc_monotonic_nanoseconds() + callNanoseconds)
    var wanted: [Wanted] = []
    for (index, file) in loaded.files.enumerated() {
      guard let path = paths[index] else { continue }
      let sites = called.sites(ofFile: index)
      if !sites.isEmpty { wanted.append(want(sites, of: file, path, folder)) }
    }
    return wanted.isEmpty ? [] : read(wanted, folder)
  }

  private func isOld(_ file: LoadedFunctions.File, _ started: UInt64) -> Bool {
    if !file.buildID.isEmpty { return true }
    var status = stat()
    guard file.path.withSystemText({ stat($0, &status) }) == 0 else { return false }
    let seconds = UInt64(clamping: status.st_mtim.tv_sec)
    return seconds <= started / 1_000_000_000
  }

  private func want(
    _ sites: [UInt32], of file: LoadedFunctions.File, _ path: String, _ folder: RecordingFolder
  ) -> Wanted {
    let symbols = folder.symbols(file.symbolsName, limit: Self.longestSymbols) ?? []
    let all = Self.addresses(symbols, count: file.sites)
    let known = sites.filter { Int($0) < all.count }
      .sorted { all[Int($0)] < all[Int($1)] }
    return Wanted(
      file: file, path: path, sites: known, addresses: known.map { all[Int($0)] })
  }

  /// The first field of each line behind the first one, without making strings of them.
  private static func addresses(_ symbols: [UInt8], count: Int) -> [UInt64] {
    var addresses: [UInt64] = []
    addresses.reserveCapacity(count)
    symbols.withUnsafeBufferPointer { bytes in
      var at = 0
      func nextLine() {
        while at < bytes.count, bytes[at] != UInt8(ascii: "\n") { at += 1 }
        at += 1
      }
      nextLine()
      while at < bytes.count, addresses.count < count {
        var address: UInt64 = 0
        while at < bytes.count, let digit = hexDigit(bytes[at]) {
          address = address << 4 | UInt64(digit)
          at += 1
        }
        addresses.append(address)
        nextLine()
      }
    }
    return addresses
  }

  private static func hexDigit(_ byte: UInt8) -> UInt8? {
    switch byte {
    case 0x30...0x39: byte - 0x30
    case 0x61...0x66: byte - 0x61 + 10
    default: nil
    }
  }
}

// MARK: - Reading

extension SourceLineSaver {
  private func read(_ wanted: [Wanted], _ folder: RecordingFolder) -> [String] {
    var answer = nsl_answer()
    defer { nsl_free(&answer) }
    let result = ask(wanted, &answer)
    var warnings = problems(result, answer, wanted)
    let files = Self.names(answer)
    var first = 0
    for one in wanted {
      let lines = UnsafeBufferPointer(
        start: answer.lines.map { $0 + first }, count: answer.lines == nil ? 0 : one.sites.count)
      first += one.sites.count
      do {
        try write(lines, files, of: one, to: folder)
      } catch {
        warnings.append("\(error)")
      }
    }
    return warnings
  }

  private func ask(_ wanted: [Wanted], _ answer: inout nsl_answer) -> nsl_result {
    let paths = wanted.map { $0.path.systemCopy }
    defer { for path in paths { free(path) } }
    // The addresses stay where they are while the modules point to them.
    let all = wanted.flatMap(\.addresses)
    return all.withUnsafeBufferPointer { all in
      var modules: [nsl_module] = []
      var first = 0
      for (one, path) in zip(wanted, paths) {
        modules.append(
          nsl_module(
            path: path, addresses: all.baseAddress.map { $0 + first },
            count: UInt32(one.addresses.count)))
        first += one.addresses.count
      }
      return nsl_read(library, modules, UInt32(modules.count), lineNanoseconds, &answer)
    }
  }

  private func problems(
    _ result: nsl_result, _ answer: nsl_answer, _ wanted: [Wanted]
  ) -> [String] {
    var lines: [String] = []
    switch result {
    case NSL_NO_LIBRARY: lines.append("no source lines: \(library) is missing: install libdw1")
    case NSL_NO_MEMORY: lines.append("no source lines: no memory is left to read DWARF")
    case NSL_NO_TIME:
      lines.append(
        "source lines of some functions are missing: reading DWARF took more than "
          + "\(fixed(Double(lineNanoseconds) / 1e9, 1)) s and was stopped")
    default: break
    }
    if answer.failures > 0, Int(answer.failed) < wanted.count {
      lines.append(
        "\(wanted[Int(answer.failed)].path): source lines are missing: libdw failed in its DWARF: damaged?"
      )
    }
    return lines
  }

  private static func names(_ answer: nsl_answer) -> [String] {
    guard let text = answer.text, let names = answer.names else { return [] }
    return (0..<Int(answer.files)).map { file in
      names[file] < answer.text_bytes ? tidy(systemText(text + Int(names[file]))) : ""
    }
  }

  /// Without `/./` and `//`: compilers join folders and names as they were given.
  static func tidy(_ path: String) -> String {
    guard path.contains("/./") || path.contains("//") else { return path }
    let parts = path.split(separator: "/").filter { $0 != "." }
    return (path.hasPrefix("/") ? "/" : "") + parts.joined(separator: "/")
  }

  private func write(
    _ lines: UnsafeBufferPointer<nsl_line>, _ names: [String], of wanted: Wanted,
    to folder: RecordingFolder
  ) throws {
    var files: [String] = []
    var numbers: [String: UInt32] = [:]
    var entries: [SourceLineEntry] = []
    for (place, found) in lines.enumerated() where found.line > 0 {
      guard Int(found.file) < names.count, !names[Int(found.file)].isEmpty else { continue }
      let name = names[Int(found.file)]
      let file = numbers[name] ?? UInt32(files.count)
      if file == files.count {
        files.append(name)
        numbers[name] = file
      }
      entries.append(SourceLineEntry(site: wanted.sites[place], file: file, line: found.line))
    }
    if entries.isEmpty { return }
    var bytes = SourceLinesHeader(count: entries.count, files: files.count).line
    for name in files {
      bytes += name.utf8.map { $0 < 0x20 || $0 == 0x7f ? UInt8(ascii: "?") : $0 } + [0x0a]
    }
    for entry in entries.sorted(by: { $0.site < $1.site }) { entry.append(to: &bytes) }
    try folder.replaceSymbols(wanted.file.symbolsName + RecordingFormat.linesSuffix, bytes)
  }
}
