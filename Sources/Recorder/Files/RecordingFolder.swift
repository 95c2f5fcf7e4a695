// SPDX-License-Identifier: Apache-2.0

import Glibc
import RecordingSchema
import TextFormat

/// Why a recording cannot be made or written: one line each.
public enum RecordingFolderError: Error, Equatable, Sendable {
  /// Something that is no recording has the name.
  case exists(path: String, what: String)
  case system(path: String, operation: String, errno: Int32)
}

extension RecordingFolderError: CustomStringConvertible {
  /// One line for people: what is wrong, where, and what helps.
  public var description: String {
    switch self {
    case .exists(let path, let what):
      "\(path): \(what): expected nothing, or an earlier recording: choose another with -o"
    case .system(let path, let operation, let errno):
      "\(path): \(operation): \(systemError(errno))"
        + (errno == ENOSPC || errno == EDQUOT ? ": make room, or choose another with -o" : "")
    }
  }
}

/// The directory of one recording: made by the recorder, 0700, its files 0600.
public final class RecordingFolder {
  /// As it was given.
  public let path: String
  private let folder: Descriptor
  private let symbols: Descriptor
  /// An earlier recording was moved here.
  private let old: String?

  /// Makes it; an earlier recording of that name is moved to `path.old`, and replaces what was
  /// there.
  public init(path given: String) throws(RecordingFolderError) {
    var path = given
    while path.count > 1, path.hasSuffix("/") { path.removeLast() }
    guard !path.isEmpty, path != "/", path != ".", path != ".." else {
      throw .exists(path: given, what: "is no name for a new directory")
    }
    self.path = path
    old = try Self.makeWay(path)
    guard path.withSystemText({ mkdir($0, 0o700) }) == 0 else {
      throw .system(path: path, operation: "cannot make the recording", errno: errnoNow())
    }
    let flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW
    folder = Descriptor(path.withSystemText { open($0, flags) })
    guard folder.number >= 0, mkdirat(folder.number, RecordingFormat.symbolsName, 0o700) == 0 else {
      let error = errnoNow()
      _ = path.withSystemText { rmdir($0) }
      throw .system(path: path, operation: "cannot make the recording", errno: error)
    }
    symbols = Descriptor(openat(folder.number, RecordingFormat.symbolsName, flags))
  }

  /// Whether `path` is a directory with a session.json of ours.
  public static func isRecording(_ path: String) -> Bool {
    let flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW
    let file = Descriptor(
      "\(path)/\(RecordingFormat.sessionName)".withSystemText { open($0, flags) })
    guard file.number >= 0, let session = file.readAll(limit: RecordingFormat.longestSession)
    else { return false }
    return RecordingFormat.isSession(session)
  }

  private static func makeWay(_ path: String) throws(RecordingFolderError) -> String? {
    var status = stat()
    guard path.withSystemText({ lstat($0, &status) }) == 0 else {
      if errno == ENOENT { return nil }
      throw .system(path: path, operation: "cannot make the recording", errno: errnoNow())
    }
    guard status.st_mode & S_IFMT == S_IFDIR, isRecording(path) else {
      throw .exists(path: path, what: "exists and is no recording")
    }
    guard status.st_uid == geteuid() else {
      throw .exists(path: path, what: "is a recording of another user (\(status.st_uid))")
    }
    let old = path + ".old"
    if old.withSystemText({ lstat($0, &status) }) == 0 {
      guard status.st_mode & S_IFMT == S_IFDIR, isRecording(old), status.st_uid == geteuid() else {
        throw .exists(
          path: old, what: "exists and is no recording of yours, and \(path) would move there")
      }
      remove(old)
    }
    guard path.withSystemText({ from in old.withSystemText { rename(from, $0) } }) == 0 else {
      throw .system(path: path, operation: "cannot move it to \(old)", errno: errnoNow())
    }
    return old
  }

  /// Removes a recording's files, and its directories where nothing else is in them.
  private static func remove(_ path: String) {
    for name in snapshots(in: path) { remove("\(path)/\(name)") }
    for folder in ["\(path)/\(RecordingFormat.symbolsName)", path] {
      empty(folder)
      _ = folder.withSystemText { rmdir($0) }
    }
  }

  /// Unlinks the files in a directory, which is no link to another.
  static func empty(_ folder: String) {
    let flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW
    let directory = Descriptor(folder.withSystemText { open($0, flags) })
    guard directory.number >= 0 else { return }
    // session.json goes last: until then what is left is still recognised as a recording.
    for name in names(in: directory.number) where name != RecordingFormat.sessionName {
      unlinkat(directory.number, name, 0)
    }
    unlinkat(directory.number, RecordingFormat.sessionName, 0)
  }

  private static func snapshots(in path: String) -> [String] {
    let flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW
    let directory = Descriptor(path.withSystemText { open($0, flags) })
    return names(in: directory.number).filter(SnapshotFolder.isSnapshot)
  }

  static func names(in directory: Int32) -> [String] {
    let copy = dup(directory)
    guard copy >= 0 else { return [] }
    guard let stream = fdopendir(copy) else {
      close(copy)
      return []
    }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
      names.append(
        withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
          String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        })
    }
    return names.filter { $0 != "." && $0 != ".." }
  }

  /// Undoes what `init` did: the program never ran, so there is nothing to look at.
  public func discard() {
    Self.remove(path)
    if let old { rename(old, path) }
  }
}

// MARK: - Files

extension RecordingFolder {
  /// A new file for reading and writing; its descriptor is the caller's.
  func create(_ name: String) throws(RecordingFolderError) -> Int32 {
    let flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW
    let file = openat(folder.number, name, flags, 0o600)
    guard file >= 0 else {
      throw .system(path: "\(path)/\(name)", operation: "cannot make it", errno: errnoNow())
    }
    return file
  }

  func append(_ line: [UInt8], to name: String) throws(RecordingFolderError) {
    let flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW
    let file = Descriptor(openat(folder.number, name, flags, 0o600))
    let error = file.number < 0 ? errnoNow() : file.write(line + [UInt8(ascii: "\n")])
    if error != 0 {
      throw .system(path: "\(path)/\(name)", operation: "cannot write", errno: error)
    }
  }

  /// Replaces `name`: a reader sees the old contents or the new.
  func replace(_ name: String, _ contents: [UInt8]) throws(RecordingFolderError) {
    try Self.replace(name, contents, in: folder.number, path)
  }

  /// The same in symbols/.
  func replaceSymbols(_ name: String, _ contents: [UInt8]) throws(RecordingFolderError) {
    try Self.replace(
      name, contents, in: symbols.number, "\(path)/\(RecordingFormat.symbolsName)")
  }

  private static func replace(
    _ name: String, _ contents: [UInt8], in folder: Int32, _ path: String
  ) throws(RecordingFolderError) {
    let temporary = ".\(name).new"
    let flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW
    let file = Descriptor(openat(folder, temporary, flags, 0o600))
    var error = file.number < 0 ? errnoNow() : file.write(contents)
    if error == 0, renameat(folder, temporary, folder, name) != 0 {
      error = errnoNow()
    }
    if error != 0 {
      unlinkat(folder, temporary, 0)
      throw .system(path: "\(path)/\(name)", operation: "cannot write", errno: error)
    }
  }

  /// Saves the symbols of a file under `name`, once; false where others are there already.
  func saveSymbols(_ name: String, _ contents: [UInt8]) throws(RecordingFolderError) -> Bool {
    let flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW
    let file = Descriptor(openat(symbols.number, name, flags, 0o600))
    if file.number < 0, errno == EEXIST {
      let there = Descriptor(openat(symbols.number, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW))
      return there.number >= 0 && there.readAll(limit: contents.count) == contents
    }
    let error = file.number < 0 ? errnoNow() : file.write(contents)
    if error != 0 {
      unlinkat(symbols.number, name, 0)
      throw .system(
        path: "\(path)/\(RecordingFormat.symbolsName)/\(name)", operation: "cannot write",
        errno: error)
    }
    return true
  }

  /// The saved symbols of a file; nil where there are none.
  func symbols(_ name: String, limit: Int) -> [UInt8]? {
    let file = Descriptor(openat(symbols.number, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW))
    return file.number >= 0 ? file.readAll(limit: limit) : nil
  }

  /// A file, for reading.
  func file(_ name: String) -> Descriptor {
    Descriptor(openat(folder.number, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW))
  }

  /// The name in line `index` of a file of symbols; nil where it is not there.
  func symbolName(in file: String, at index: Int) -> String? {
    let file = Descriptor(openat(symbols.number, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW))
    guard file.number >= 0, let text = file.readAll(limit: .max) else { return nil }
    let lines = text.split(
      separator: UInt8(ascii: "\n"), maxSplits: index + 2, omittingEmptySubsequences: false)
    guard lines.count > index + 1 else { return nil }
    return SymbolLine(lines[index + 1])?.name
  }

  /// A snapshot, to be filled.
  func makeSnapshot(_ number: Int) throws(RecordingFolderError) -> SnapshotFolder {
    try SnapshotFolder(number: number, in: folder.number)
  }

  /// The first `count` bytes of a file; nil where there are fewer.
  func head(of name: String, count: Int) -> [UInt8]? {
    let file = file(name)
    return file.number >= 0 ? file.read(at: 0, count: count) : nil
  }
}
