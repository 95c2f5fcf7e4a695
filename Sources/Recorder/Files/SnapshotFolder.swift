// SPDX-License-Identifier: Apache-2.0

import Glibc
import RecordingSchema
import TextFormat

/// A recording of its own in the folder of another: `snapshot-1`.
///
/// It has another name until it is complete: a recorder that is killed leaves no half snapshot.
final class SnapshotFolder {
  /// Its name in the recording's folder, once it is complete.
  let name: String
  private let temporary: String
  private let parent: Int32
  private let folder: Descriptor

  private static let directory = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW

  /// Makes it in the folder that `parent` is, which must be open for as long.
  init(number: Int, in parent: Int32) throws(RecordingFolderError) {
    name = "\(Self.prefix)\(number)"
    temporary = ".\(name).new"
    self.parent = parent
    guard mkdirat(parent, temporary, 0o700) == 0 else {
      throw .system(path: name, operation: "cannot make the snapshot", errno: errnoNow())
    }
    folder = Descriptor(openat(parent, temporary, Self.directory))
    guard folder.number >= 0 else {
      throw .system(path: name, operation: "cannot make the snapshot", errno: errnoNow())
    }
  }

  private static let prefix = "snapshot-"

  /// Whether a name in a recording's folder is a snapshot's, complete or not.
  static func isSnapshot(_ name: String) -> Bool {
    name.hasPrefix(prefix) || name.hasPrefix(".\(prefix)")
  }

  /// The symbols that are saved until now are in it as links: the recorder never changes them.
  func linkSymbols() throws(RecordingFolderError) {
    let symbols = RecordingFormat.symbolsName
    guard mkdirat(folder.number, symbols, 0o700) == 0 else {
      throw .system(path: name, operation: "cannot make the snapshot", errno: errnoNow())
    }
    let from = Descriptor(openat(parent, symbols, Self.directory))
    let to = Descriptor(openat(folder.number, symbols, Self.directory))
    for file in RecordingFolder.names(in: from.number)
    where linkat(from.number, file, to.number, file, 0) != 0 {
      // A file system without links.
      try copy(file, from.number, to.number)
    }
  }

  private func copy(_ file: String, _ from: Int32, _ to: Int32) throws(RecordingFolderError) {
    let source = Descriptor(openat(from, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW))
    guard source.number >= 0, let bytes = source.readAll(limit: .max) else {
      throw .system(path: file, operation: "cannot read", errno: errnoNow())
    }
    try write(bytes, to: file, in: to)
  }

  private func write(
    _ bytes: [UInt8], to file: String, in directory: Int32
  ) throws(RecordingFolderError) {
    let flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW
    let target = Descriptor(openat(directory, file, flags, 0o600))
    let error = target.number < 0 ? errnoNow() : target.write(bytes)
    if error != 0 {
      throw .system(path: "\(name)/\(file)", operation: "cannot write", errno: error)
    }
  }

  /// A new file for reading and writing; its descriptor is the caller's.
  func create(_ file: String) throws(RecordingFolderError) -> Int32 {
    let flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW
    let made = openat(folder.number, file, flags, 0o600)
    guard made >= 0 else {
      throw .system(path: "\(name)/\(file)", operation: "cannot make it", errno: errnoNow())
    }
    return made
  }

  func write(_ bytes: [UInt8], to file: String) throws(RecordingFolderError) {
    try write(bytes, to: file, in: folder.number)
  }

  /// The recording's file as it is now, which is only ever appended to.
  func copy(_ file: String) throws(RecordingFolderError) {
    try copy(file, parent, folder.number)
  }

  /// Gives it its name: it is complete.
  func finish() throws(RecordingFolderError) {
    guard renameat(parent, temporary, parent, name) == 0 else {
      throw .system(path: name, operation: "cannot write", errno: errnoNow())
    }
  }

  /// Removes what there is of it.
  func discard() {
    for directory in [RecordingFormat.symbolsName, "."] {
      let opened = Descriptor(openat(folder.number, directory, Self.directory))
      for file in RecordingFolder.names(in: opened.number) { unlinkat(opened.number, file, 0) }
    }
    unlinkat(folder.number, RecordingFormat.symbolsName, AT_REMOVEDIR)
    unlinkat(parent, temporary, AT_REMOVEDIR)
  }
}
