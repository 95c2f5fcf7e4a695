// SPDX-License-Identifier: Apache-2.0
//
// /proc/PID/maps, as far as an audit needs it: which part of which file is mapped where (proc(5)).

import Glibc
import TextFormat
import Units

/// The /proc directory of one process.
struct ProcessDirectory {
  let process: pid_t
  private let prefix: String

  init(_ process: pid_t) {
    self.process = process
    // A process may read its own even where its number in /proc is another (a PID namespace).
    prefix = process == getpid() ? "/proc/self/" : "/proc/\(process)/"
  }

  func path(_ name: String) -> String { prefix + name }

  func mapFile(_ mapping: MemoryMapping) -> String {
    "\(prefix)map_files/\(hexDigits(mapping.start.rawValue))-\(hexDigits(mapping.end.rawValue))"
  }

  /// Opens one of the files that only a tracer of the process may read.
  func open(_ name: String) throws(AuditError) -> ReadableFile {
    do throws(Errno) { return try ReadableFile(path(name)) } catch {
      throw failure(opening: name, error)
    }
  }

  /// The mappings of files, by address.
  func fileMappings() throws(AuditError) -> [MemoryMapping] {
    let maps = try open("maps")
    let text: [UInt8]
    do throws(Errno) { text = try maps.readAll() } catch { throw failure(opening: "maps", error) }
    if text.isEmpty { throw .noText(process) }
    return text.split(separator: UInt8(ascii: "\n")).compactMap { MemoryMapping(line: $0) }
  }

  private func failure(opening name: String, _ error: Errno) -> AuditError {
    switch error.number {
    case ENOENT where access("/proc/self", F_OK) == 0, ESRCH: .noSuchProcess(process)
    case EACCES, EPERM: .refused(process, path: path(name), errno: error.number)
    default: .unreadable(path: path(name), errno: error.number)
    }
  }
}

/// A mapping of a file.
struct MemoryMapping: Equatable {
  var start: CodeAddress
  var end: CodeAddress
  var isExecutable: Bool
  /// In the file, of the first byte.
  var fileOffset: UInt64
  var deviceMajor: UInt64
  var deviceMinor: UInt64
  var inode: UInt64
  /// As the kernel prints it: a newline is `\012`, and ` (deleted)` is appended.
  var printedPath: String

  var length: UInt64 { end - start }

  var isDeleted: Bool { printedPath.hasSuffix(" (deleted)") }

  /// The file's name, with the kernel's escape taken back.
  var path: String {
    guard printedPath.contains(#"\012"#) else { return printedPath }
    var parts: [Substring] = []
    var rest = Substring(printedPath)
    while let escape = rest.firstRange(of: #"\012"#) {
      parts.append(rest[..<escape.lowerBound])
      rest = rest[escape.upperBound...]
    }
    return (parts + [rest]).joined(separator: "\n")
  }

  /// Whether the mappings are of one file.
  func isSameFile(as other: MemoryMapping) -> Bool {
    inode == other.inode && deviceMinor == other.deviceMinor && deviceMajor == other.deviceMajor
  }

  /// Whether the file's byte at `offset` is mapped at `address` here.
  func shows(_ offset: UInt64, at address: CodeAddress) -> Bool {
    start <= address && address < end && address - start == offset &- fileOffset
  }

  /// Parses a line: `7f3b2c600000-7f3b2c628000 r-xp 00028000 fe:00 1835082    /usr/lib/libc.so.6`.
  ///
  /// Nil for memory of no file: anonymous memory, the stack, the vdso.
  init?(line: some Collection<UInt8>) {
    // The path is the rest of the line after five fields and the blanks that align it.
    let fields = line.split(separator: UInt8(ascii: " "), maxSplits: 5)
    guard fields.count == 6, fields[1].count == 4 else { return nil }
    let addresses = fields[0].split(separator: UInt8(ascii: "-"))
    let device = fields[3].split(separator: UInt8(ascii: ":"))
    guard addresses.count == 2, device.count == 2,
      let start = number(addresses[0], 16), let end = number(addresses[1], 16), start < end,
      let offset = number(fields[2], 16), let major = number(device[0], 16),
      let minor = number(device[1], 16), let inode = number(fields[4], 10), inode != 0
    else { return nil }
    self.start = CodeAddress(start)
    self.end = CodeAddress(end)
    isExecutable = fields[1].dropFirst(2).first == UInt8(ascii: "x")
    fileOffset = offset
    deviceMajor = major
    deviceMinor = minor
    self.inode = inode
    printedPath = String(
      decoding: fields[5].drop(while: { $0 == UInt8(ascii: " ") }), as: UTF8.self)
  }
}

private func number(_ digits: some Sequence<UInt8>, _ radix: Int) -> UInt64? {
  UInt64(String(decoding: Array(digits), as: UTF8.self), radix: radix)
}
