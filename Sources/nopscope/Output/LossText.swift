// SPDX-License-Identifier: Apache-2.0

import RecordingReader
import TextFormat

/// `0 events lost`, or `0 events lost, 2 processes missing (nopscope info)`.
func lossText(_ events: UInt64, _ recording: Recording) -> String {
  "\(grouped(events)) events lost" + missingText(recording.session.missing.count)
}

/// What a closing line says of processes that are not recorded; empty where there are none.
func missingText(_ count: Int) -> String {
  if count == 0 { return "" }
  return ", \(counted(count, "process", plural: "processes")) missing (nopscope info)"
}
