// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A folder that belongs to this process and is removed when the process exits.
public final class TemporaryFolder: Sendable {
  /// The one of this process.
  public static let shared = TemporaryFolder()

  /// Its absolute path.
  public let path: String
  private let counter = Counter()

  private init() {
    let parent = FileManager.default.temporaryDirectory.path
    var template = Array("\(parent)/nopscope-tests.XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else {
      fatalError("cannot make a folder in \(parent): \(String(cString: strerror(errno)))")
    }
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    atexit { try? FileManager.default.removeItem(atPath: TemporaryFolder.shared.path) }
  }

  /// The path of a new, empty folder.
  public func fresh(_ name: String) throws -> String {
    let folder = "\(path)/\(name)-\(counter.next())"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
    return folder
  }

  private final class Counter: @unchecked Sendable {
    private let lock = NSLock()
    private var value = 0
    func next() -> Int {
      lock.withLock {
        value += 1
        return value
      }
    }
  }
}
