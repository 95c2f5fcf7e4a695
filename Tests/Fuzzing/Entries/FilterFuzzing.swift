// SPDX-License-Identifier: Apache-2.0

import Filters
import Recorder

/// Rules on the first line, then a module's path, then a function's linked name.
func fuzzFilter(_ input: [UInt8], _ broken: inout Broken) {
  let lines = input.split(separator: 0x0a, maxSplits: 2, omittingEmptySubsequences: false)
    .map { String(decoding: $0, as: UTF8.self) }
  let path = lines.count > 1 ? lines[1] : "/usr/lib/libz.so.1"
  let function = lines.count > 2 ? lines[2] : "_ZN5space4nameEv"
  let glob = Glob(lines[0])
  // The definition takes pattern length times name length steps, and that much memory.
  for name in [path, function] where lines[0].utf8.count * name.utf8.count <= 1 << 14 {
    broken.unless(
      glob.matches(name) == GlobReference(lines[0]).matches(name),
      "'\(lines[0])' and '\(name)': the matcher and the definition disagree")
  }
  _ = try? ThreadRule.parse(lines)
  guard let rules = try? FilterRule.parse(lines[0]) else { return }
  for rule in rules {
    broken.unless((try? FilterRule(rule.text)) == rule, "'\(rule.text)' is read in two ways")
  }
  let module = ModuleSpellings(path: path)
  for filter in [
    SiteFilter(filter: rules),
    SiteFilter(notrace: rules, graph: rules),
  ] {
    _ = filter.choice(function: function, module: module)
  }
}

/// The definition of globs, as a table: which suffix of the pattern matches which suffix of the
/// name.
private struct GlobReference {
  private enum Part {
    case star
    case bytes([ClosedRange<UInt8>], isInverted: Bool)
  }

  private let parts: [Part]

  init(_ text: String) {
    let pattern = Array(text.utf8)
    var parts: [Part] = []
    var at = 0
    while at < pattern.count {
      switch pattern[at] {
      case UInt8(ascii: "*"): parts.append(.star)
      case UInt8(ascii: "?"): parts.append(.bytes([], isInverted: true))
      case UInt8(ascii: "\\") where at + 1 < pattern.count:
        at += 1
        parts.append(.bytes([pattern[at]...pattern[at]], isInverted: false))
      case UInt8(ascii: "["):
        if let (part, end) = Self.readClass(pattern, at) {
          parts.append(part)
          at = end
        } else {
          fallthrough
        }
      default: parts.append(.bytes([pattern[at]...pattern[at]], isInverted: false))
      }
      at += 1
    }
    self.parts = parts
  }

  /// A class and the index of its `]`. The first byte inside is always a member, even a `]`.
  private static func readClass(_ pattern: [UInt8], _ start: Int) -> (Part, Int)? {
    var at = start + 1
    let isInverted = at < pattern.count && pattern[at] == UInt8(ascii: "!")
    if isInverted { at += 1 }
    let first = at
    guard let end = pattern.indices.first(where: { $0 > first && pattern[$0] == UInt8(ascii: "]") })
    else { return nil }
    var ranges: [ClosedRange<UInt8>] = []
    while at < end {
      if at + 2 < end, pattern[at + 1] == UInt8(ascii: "-") {
        if pattern[at] <= pattern[at + 2] { ranges.append(pattern[at]...pattern[at + 2]) }
        at += 3
      } else {
        ranges.append(pattern[at]...pattern[at])
        at += 1
      }
    }
    return (.bytes(ranges, isInverted: isInverted), end)
  }

  func matches(_ text: String) -> Bool {
    let name = Array(text.utf8)
    // Row i: does parts[i...] match name[j...]?
    var row = Array(repeating: false, count: name.count + 1)
    row[name.count] = true
    for part in parts.reversed() {
      var above = Array(repeating: false, count: name.count + 1)
      for index in (0...name.count).reversed() {
        switch part {
        case .star: above[index] = row[index] || (index < name.count && above[index + 1])
        case .bytes(let ranges, let isInverted):
          guard index < name.count else { continue }
          let isIn = ranges.contains { $0.contains(name[index]) }
          above[index] = isIn != isInverted && row[index + 1]
        }
      }
      row = above
    }
    return row[0]
  }
}
