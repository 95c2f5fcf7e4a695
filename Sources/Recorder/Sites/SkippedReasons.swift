// SPDX-License-Identifier: Apache-2.0

import CallSites
import RecordingSchema

extension SkippedReason {
  /// The places of a file by reason, the most frequent first.
  static func counts(of places: [SkippedSite], others: [String: Int] = [:]) -> [SkippedReason] {
    var counts = others
    for place in places { counts[place.reason, default: 0] += 1 }
    return counts.filter { $0.value > 0 }.map { SkippedReason(reason: $0.key, count: $0.value) }
      .sorted { $0.count != $1.count ? $0.count > $1.count : $0.reason < $1.reason }
  }
}

// As the cache keeps them: lines `COUNT TAB REASON`.
extension SkippedReason {
  static func text(_ counts: [SkippedReason]) -> [UInt8] {
    Array(counts.map { "\($0.count)\t\($0.reason)\n" }.joined().utf8)
  }

  /// Nil where a line is not one of `text`'s.
  static func parse(_ bytes: some Collection<UInt8>) -> [SkippedReason]? {
    var counts: [SkippedReason] = []
    for line in bytes.split(separator: UInt8(ascii: "\n")) {
      let words = line.split(separator: UInt8(ascii: "\t"), maxSplits: 1)
      guard words.count == 2, let count = Int(String(decoding: words[0], as: UTF8.self)),
        count > 0, count < Int(Int32.max)
      else { return nil }
      counts.append(
        SkippedReason(reason: String(decoding: words[1], as: UTF8.self), count: count))
    }
    return counts
  }
}
