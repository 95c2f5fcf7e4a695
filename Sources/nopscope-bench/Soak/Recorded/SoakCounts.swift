// SPDX-License-Identifier: Apache-2.0

import Glibc

/// What the recorded program counted itself: a file that it maps, as `struct counts` has it.
struct SoakCounts {
  struct Load {
    var process: Int32
    var image: Int
    var plugin: Int
    var calls: Int
  }

  let path: String
  static var bytes: Int {
    32 + 16 * SoakProgram.names.count + SoakProgram.mostLoads * 24
  }

  /// An empty one.
  init(path: String) throws(SoakDeviation) {
    self.path = path
    unlink(path)
    try writeBytes([UInt8](repeating: 0, count: Self.bytes), to: path)
  }

  private static func word(_ bytes: [UInt8], _ offset: Int) -> Int {
    guard bytes.count >= offset + 8 else { return 0 }
    return bytes.withUnsafeBytes {
      Int(truncatingIfNeeded: $0.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }
  }

  /// 0 until it has begun.
  var process: pid_t { pid_t(truncatingIfNeeded: Self.word(readBytes(path), 0)) }
  var hasFinished: Bool { Self.word(readBytes(path), 8) != 0 }

  /// Calls that were begun, and those whose function's body ran, by name.
  var calls: [String: (before: Int, inside: Int)] {
    let bytes = readBytes(path)
    var calls: [String: (Int, Int)] = [:]
    for (index, name) in SoakProgram.names.enumerated() {
      let before = Self.word(bytes, 32 + 8 * index)
      calls[name] = (before, Self.word(bytes, 32 + 8 * (SoakProgram.names.count + index)))
    }
    return calls
  }

  /// In order.
  var loads: [Load] {
    let bytes = readBytes(path)
    let start = 32 + 16 * SoakProgram.names.count
    return (0..<min(Self.word(bytes, 24), SoakProgram.mostLoads)).map { index in
      let at = start + 24 * index
      let (head, plugin) = (Self.word(bytes, at), Self.word(bytes, at + 8))
      return Load(
        process: Int32(truncatingIfNeeded: head), image: head >> 32, plugin: plugin & 0xffff_ffff,
        calls: Self.word(bytes, at + 16))
    }
  }
}
