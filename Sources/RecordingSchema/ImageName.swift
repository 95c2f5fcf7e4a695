// SPDX-License-Identifier: Apache-2.0

/// One program image that ran, a process between two execs, and the names of its files.
public struct ImageName: Hashable, Comparable, Sendable {
  /// The process id.
  public var pid: Int32
  /// Counts the execs of the pid, from 0.
  public var incarnation: UInt32

  /// The image that the process `pid` was after `incarnation` execs.
  public init(pid: Int32, incarnation: UInt32) {
    self.pid = pid
    self.incarnation = incarnation
  }

  /// Nil where `name` is not `PID-N.events`, spelt as the recorder spells it.
  public init?(events name: String) {
    guard name.hasSuffix(".events") else { return nil }
    let numbers = name.dropLast(7).split(separator: "-", omittingEmptySubsequences: false)
    guard numbers.count == 2, let pid = Int32(numbers[0]), let count = UInt32(numbers[1]),
      pid >= 0, "\(pid)-\(count).events" == name
    else { return nil }
    self.init(pid: pid, incarnation: count)
  }

  /// The name of its event file.
  public var events: String { "\(pid)-\(incarnation).events" }
  /// The name of its file of modules.
  public var modules: String { "\(pid)-\(incarnation).modules" }

  /// By process id, then by incarnation.
  public static func < (left: ImageName, right: ImageName) -> Bool {
    (left.pid, left.incarnation) < (right.pid, right.incarnation)
  }
}
