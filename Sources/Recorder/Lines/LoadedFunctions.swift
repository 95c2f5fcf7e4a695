// SPDX-License-Identifier: Apache-2.0

import RecordingSchema

/// Which functions the numbers in the event files stand for, of all processes until the end.
struct LoadedFunctions {
  /// A file that was loaded, whose symbols are saved.
  struct File {
    /// Its name in symbols/.
    var symbolsName: String
    var path: String
    var buildID: [UInt8]
    var sites: Int
  }

  /// One load of one.
  struct Load {
    var firstFunction: UInt32
    var sites: UInt32
    /// In `files`.
    var file: Int32
  }

  private(set) var files: [File] = []
  private(set) var loads: [ImageName: [Load]] = [:]
  /// Loads were left out: there were too many.
  private(set) var isIncomplete = false
  private var byName: [String: Int32] = [:]
  private var count = 0

  /// 12 MB of them.
  private static let most = 1 << 20
  private static let mostFiles = 1 << 16

  /// Notes a module that was armed.
  mutating func add(_ module: TracedModule, of image: ImageName) {
    guard module.armed > 0, module.sites > 0 else { return }
    guard let file = number(of: module), count < Self.most else {
      isIncomplete = true
      return
    }
    count += 1
    loads[image, default: []].append(
      Load(firstFunction: module.firstFunction, sites: UInt32(module.sites), file: file))
  }

  private mutating func number(of module: TracedModule) -> Int32? {
    if let known = byName[module.symbolsName] { return known }
    if files.count >= Self.mostFiles { return nil }
    let number = Int32(files.count)
    files.append(
      File(
        symbolsName: module.symbolsName, path: module.message.path,
        buildID: Array(module.message.buildID), sites: module.sites))
    byName[module.symbolsName] = number
    return number
  }
}
