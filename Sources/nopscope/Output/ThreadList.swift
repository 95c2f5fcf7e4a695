// SPDX-License-Identifier: Apache-2.0

import RecordingReader

/// Which threads were asked for, and which there are.
func noSuchThread(_ wanted: [String], in recording: Recording) -> String {
  let known = Set(recording.processes.flatMap(\.threads).map { "\($0.id) (\($0.name))" }).sorted()
  let some = known.prefix(8).joined(separator: ", ") + (known.count > 8 ? ", …" : "")
  return "no thread \(wanted.joined(separator: ", ")); the recording has \(some)"
}
