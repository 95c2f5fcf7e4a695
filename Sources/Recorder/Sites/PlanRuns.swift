// SPDX-License-Identifier: Apache-2.0

/// What was planned for each call site of a module, in the table's order, as a recording keeps it:
/// runs of a number and a letter, `12a3u`; the number is left out where it is 1.
///
/// A choice, not an action: a site that is a nop in the file and not wanted is left as it is, and
/// still not wanted.
struct PlanRuns: Equatable, Sendable {
  enum Choice: UInt8 {
    /// To be armed. Whether it was, the module's status says.
    case wanted = 0x61  // a
    /// A nop: no rule wants it.
    case unwanted = 0x75  // u
    /// Not touched: the module was left alone.
    case leftAlone = 0x6c  // l
  }

  private var bytes: [UInt8] = []
  private var last: Choice?
  private var count = 0

  mutating func add(_ choice: Choice) {
    if choice == last {
      count += 1
      return
    }
    bytes += Self.run(last, count)
    last = choice
    count = 1
  }

  var text: String { String(decoding: bytes + Self.run(last, count), as: UTF8.self) }

  private static func run(_ choice: Choice?, _ count: Int) -> [UInt8] {
    guard let choice else { return [] }
    return (count > 1 ? Array(String(count).utf8) : []) + [choice.rawValue]
  }
}
