// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// How often what was done. For all threads.
final class SoakTally: Sendable {
  private let counts = Mutex<[String: Int]>([:])

  func add(_ what: String, _ count: Int = 1) {
    counts.withLock { $0[what, default: 0] += count }
  }

  var all: [String: Int] { counts.withLock { $0 } }

  /// Lines `tally COUNT WHAT`, by which a child reports to its parent.
  var lines: String {
    all.sorted { $0.key < $1.key }.map { "tally \($0.value) \($0.key)\n" }.joined()
  }

  func addLines(of text: String) {
    for line in text.split(separator: "\n") {
      let words = line.split(separator: " ", maxSplits: 2)
      guard words.count == 3, words[0] == "tally", let count = Int(words[1]) else { continue }
      add(String(words[2]), count)
    }
  }
}

/// What should not have happened: one or more lines.
public struct SoakDeviation: Error, CustomStringConvertible {
  /// What it was.
  public var description: String
}

/// Random numbers that a printed seed brings back (SplitMix64).
struct SoakGenerator: RandomNumberGenerator {
  private var state: UInt64

  /// `stream` tells threads, rounds and runs of one seed apart.
  init(seed: UInt64, stream: UInt64) {
    state = seed
    state = next() ^ (stream &* 0xd1b5_4a32_d192_ed03)
  }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
    return mixed ^ (mixed >> 31)
  }

  /// True once in `count` times.
  mutating func isOne(in count: Int) -> Bool { next() % UInt64(count) == 0 }
  mutating func below(_ count: Int) -> Int { Int(next() % UInt64(count)) }
}
