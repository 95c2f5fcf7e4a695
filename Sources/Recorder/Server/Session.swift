// SPDX-License-Identifier: Apache-2.0

import CRecordingABI
import Glibc

/// session.json: what was recorded, and the processes that took part.
struct Session {
  let command: [String]
  let options: RecordOptions
  let clock: TraceClock
  var processes: [TracedProcess] = []
  var hasEnded = false
  var exitStatus: Int32?

  func text() -> String {
    JSONText.object([
      ("schema", .string("nopscope.recording/1")), ("version", .number(NREC_VERSION)),
      ("command", .array(command.map { .string($0) })),
      ("tracer", .string(options.tracer.rawValue)),
      ("options", options.json),
      ("startRealtimeNanoseconds", .number(clock.startRealtimeNanoseconds)),
      ("ticksPerSecond", .number(clock.ticksPerSecond())),
      ("timeShift", .number(NREC_TIME_SHIFT)), ("host", .string(Self.host)),
      ("ended", .bool(hasEnded)), ("exitStatus", exitStatus.map { .number($0) } ?? .null),
      ("processes", .array(processes.map(\.json))),
    ]).line + "\n"
  }

  private static var host: String {
    var name = [CChar](repeating: 0, count: 256)
    guard gethostname(&name, name.count - 1) == 0 else { return "" }
    return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}
