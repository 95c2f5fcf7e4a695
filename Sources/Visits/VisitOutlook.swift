// SPDX-License-Identifier: Apache-2.0

import Glibc

/// What a visit would meet. Looking stops nothing and changes nothing.
public struct VisitOutlook: Equatable, Sendable {
  /// Process id.
  public let process: Int32
  /// How many it has, and how many of them sleep in a system call.
  public var threads: Int, asleep: Int
  /// Modules that its loader has mapped.
  public var modules: Int
  /// Of its program; nil: the kernel does not say.
  public var program: String?

  /// Looks; throws why the process cannot be visited. `agent`: the path of the agent's library.
  public init(of process: Int32, agent: String) throws(VisitError) {
    let visit = try Visit(process)
    try visit.checkAgent(agent)
    let all = Visits.threads(of: process)
    self.process = process
    threads = all.count
    asleep = all.count { $0.state == UInt8(ascii: "S") }
    modules = visit.moduleCount
    var bytes = [CChar](repeating: 0, count: Int(PATH_MAX))
    let count = readlink("/proc/\(process)/exe", &bytes, bytes.count)
    if count > 0 {
      program = String(decoding: bytes[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
  }
}
