// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport

/// Hundreds of libraries, made from one file that is compiled once.
///
/// In each copy the name of the file's function and its build-id are overwritten. Compiling each
/// library would take a second.
struct Turns {
  let folder: String
  let count: Int

  init(count: Int) throws {
    self.count = count
    folder = try TemporaryFolder.shared.fresh("turns")
    let built = try Program(
      source: "takes_turns.c", extra: ["-shared", "-fPIC", "-Wl,--build-id=sha1"]
    ).build()
    let file = try Data(contentsOf: URL(fileURLWithPath: built))
    let names = file.places(of: Data("turn_0000".utf8))
    let note = Data([4, 0, 0, 0, 20, 0, 0, 0, 3, 0, 0, 0, 0x47, 0x4e, 0x55, 0])
    guard !names.isEmpty, let id = file.places(of: note).first else {
      throw TestSupportError("\(built): no turn_0000, or no build-id")
    }
    for index in 0..<count {
      var copy = file
      let name = Data(String(format: "turn_%04d", index).utf8)
      for place in names { copy.replaceSubrange(place..<(place + name.count), with: name) }
      copy[id + 16] = UInt8(index & 0xff)
      copy[id + 17] = UInt8(index >> 8)
      try copy.write(to: URL(fileURLWithPath: String(format: "%@/%04d.so", folder, index)))
    }
  }
}

extension Data {
  fileprivate func places(of part: Data) -> [Int] {
    var found: [Int] = []
    var from = startIndex
    while let range = range(of: part, in: from..<endIndex) {
      found.append(range.lowerBound)
      from = range.upperBound
    }
    return found
  }
}
