// SPDX-License-Identifier: Apache-2.0

import CRecorder
import Glibc
import TextFormat

/// A program that can be recorded: found, executable, and such that an agent can be preloaded.
public struct TargetProgram: Equatable, Sendable {
  /// What is executed.
  public let path: String
  /// The ELF file that runs: the interpreter's where `path` is a script.
  public let image: String

  /// `name` as a shell looks for it: in `searchPath` (PATH's value) where it has no slash.
  public init(_ name: String, searchPath: String?) throws(TargetError) {
    path = try Self.find(name, searchPath)
    var image = path
    for _ in 0..<5 {
      guard let interpreter = try Self.check(image) else {
        self.image = image
        return
      }
      image = interpreter
      try Self.checkExecutable(image)
    }
    throw .manyInterpreters(path: path)
  }

  private static func find(_ name: String, _ searchPath: String?) throws(TargetError) -> String {
    if name.contains("/") {
      try checkExecutable(name)
      return name
    }
    if name.isEmpty { throw .notFound(name: "''", isPath: true) }
    var refused: TargetError?
    // An unset PATH is the system's own (confstr _CS_PATH); an empty part is this folder.
    let folders = (searchPath ?? "/bin:/usr/bin").split(
      separator: ":", omittingEmptySubsequences: false)
    for folder in folders {
      let candidate = folder.isEmpty ? "./\(name)" : "\(folder)/\(name)"
      do {
        try checkExecutable(candidate)
        return candidate
      } catch {
        if case .notExecutable = error { refused = refused ?? error }
      }
    }
    throw refused ?? .notFound(name: name, isPath: false)
  }

  private static func checkExecutable(_ path: String) throws(TargetError) {
    var status = stat()
    guard path.withSystemText({ stat($0, &status) }) == 0 else {
      let error = errnoNow()
      if error == ENOENT || error == ENOTDIR { throw .notFound(name: path, isPath: true) }
      throw .notExecutable(path: path, reason: systemError(error))
    }
    switch status.st_mode & S_IFMT {
    case S_IFREG: break
    case S_IFDIR: throw .notExecutable(path: path, reason: "it is a directory")
    default: throw .notExecutable(path: path, reason: "it is no regular file")
    }
    guard path.withSystemText({ faccessat(AT_FDCWD, $0, X_OK, AT_EACCESS) }) == 0 else {
      throw .notExecutable(path: path, reason: systemError(errnoNow()) + " (chmod +x?)")
    }
  }

  /// Checks what is executed; a script's interpreter is returned, to be checked in its place.
  private static func check(_ path: String) throws(TargetError) -> String? {
    let file = Descriptor(path.withSystemText { open($0, O_RDONLY | O_CLOEXEC | O_NONBLOCK) })
    guard file.number >= 0 else { throw .unreadable(path: path, errno: errnoNow()) }
    var head = file.read(at: 0, count: 256) ?? []
    var count = 64
    while head.isEmpty, count > 0 {  // shorter than 256 bytes
      head = file.read(at: 0, count: count) ?? []
      count -= 1
    }
    if head.starts(with: Array("#!".utf8)) {
      guard let interpreter = interpreter(head) else { throw .noInterpreter(path: path) }
      return interpreter
    }
    guard head.starts(with: [0x7f, 0x45, 0x4c, 0x46]) else {
      throw .notProgram(path: path, found: Array(head.prefix(4)))
    }
    try checkArchitecture(path, head)
    try checkLoader(path, head, file)
    try checkPrivileges(path, file)
    return nil
  }

  private static func interpreter(_ head: [UInt8]) -> String? {
    let line = head.dropFirst(2).prefix { $0 != UInt8(ascii: "\n") }
    return line.split { $0 == 0x20 || $0 == 0x09 }.first.map {
      String(decoding: $0, as: UTF8.self)
    }
  }
}

// MARK: - ELF

extension TargetProgram {
  private static func checkArchitecture(_ path: String, _ head: [UInt8]) throws(TargetError) {
    guard head.count >= 64 else { throw .damaged(path: path) }
    let machine = UInt16(head[18]) | UInt16(head[19]) << 8
    let type = UInt16(head[16]) | UInt16(head[17]) << 8
    if head[4] == 1 {
      let what = machine == 62 ? "an x32 one (32-bit pointers)" : "a 32-bit one"
      throw .otherArchitecture(path: path, found: what)
    }
    guard head[4] == 2, head[5] == 1, machine == 62 else {
      let names: [UInt16: String] = [183: "AArch64", 243: "RISC-V", 21: "PowerPC64", 22: "s390x"]
      let name = names[machine].map { "\($0) (machine \(machine))" } ?? "machine \(machine)"
      throw .otherArchitecture(path: path, found: "code for \(name)")
    }
    guard type == 2 || type == 3 else {
      throw .notExecutable(path: path, reason: "an ELF file of type \(type), not a program")
    }
  }

  private static func checkLoader(
    _ path: String, _ head: [UInt8], _ file: borrowing Descriptor
  ) throws(TargetError) {
    var reader = ByteReader(head)
    guard reader.take(0x20) != nil, let offset = reader.number(UInt64.self),
      reader.take(0x38 - 0x28) != nil, let count = reader.number(UInt16.self),
      offset < 1 << 40, let table = file.read(at: Int(offset), count: 56 * Int(count))
    else { throw .damaged(path: path) }
    var headers = ByteReader(table)
    try checkSegments(path, table, count, file)
    for _ in 0..<count {
      guard let type = headers.number(UInt32.self), headers.take(4) != nil,
        let start = headers.number(UInt64.self), headers.take(16) != nil,
        let size = headers.number(UInt64.self), headers.take(16) != nil
      else { throw .damaged(path: path) }
      guard type == 3 else { continue }  // PT_INTERP
      guard size <= 4096, start < 1 << 40,
        let name = file.read(at: Int(start), count: Int(size))
      else { throw .damaged(path: path) }
      let interpreter = String(decoding: name.prefix { $0 != 0 }, as: UTF8.self)
      let musl = Array("ld-musl".utf8)
      if nrc_contains(name, name.count, musl, musl.count) {
        throw .otherLoader(path: path, interpreter: interpreter)
      }
      return
    }
    throw .isStatic(path: path)
  }

  /// All that is to be mapped has to be there: the kernel maps beyond a file's end, and a
  /// SIGBUS would end the program without a message.
  private static func checkSegments(
    _ path: String, _ table: [UInt8], _ count: UInt16, _ file: borrowing Descriptor
  ) throws(TargetError) {
    var status = stat()
    guard fstat(file.number, &status) == 0 else { throw .unreadable(path: path, errno: errnoNow()) }
    let size = UInt64(max(0, status.st_size))
    var headers = ByteReader(table)
    for _ in 0..<count {
      guard let type = headers.number(UInt32.self), headers.take(4) != nil,
        let start = headers.number(UInt64.self), headers.take(16) != nil,
        let length = headers.number(UInt64.self), headers.take(16) != nil
      else { throw .damaged(path: path) }
      guard type == 1 else { continue }  // PT_LOAD
      let (end, overflow) = start.addingReportingOverflow(length)
      if overflow || end > size { throw .truncated(path: path, expected: end, found: size) }
    }
  }

  /// AT_SECURE, as execve(2) decides it: a change of user or group, or capabilities gained.
  private static func checkPrivileges(
    _ path: String, _ file: borrowing Descriptor
  ) throws(TargetError) {
    var status = stat()
    guard fstat(file.number, &status) == 0 else { throw .unreadable(path: path, errno: errnoNow()) }
    if status.st_mode & S_ISUID != 0, status.st_uid != getuid() {
      throw .isPrivileged(path: path, what: "setuid, runs as user \(status.st_uid)")
    }
    if status.st_mode & S_ISGID != 0, status.st_mode & 0o010 != 0, status.st_gid != getgid() {
      throw .isPrivileged(path: path, what: "setgid, runs as group \(status.st_gid)")
    }
    if getuid() != 0, nrc_has_capabilities(file.number) {
      throw .isPrivileged(path: path, what: "has file capabilities (setcap)")
    }
  }
}
