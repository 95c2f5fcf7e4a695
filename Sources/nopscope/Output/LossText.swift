// SPDX-License-Identifier: Apache-2.0

import RecordingReader
import TextFormat

/// `0 events lost`, or `0 events lost, 2 processes missing (nopscope info)`. Of a recording that was
/// not closed it is not known how many are.
func lossText(_ events: UInt64, _ recording: Recording) -> String {
  let open = recording.isClosed ? "" : " until now, not closed: the last are not in it"
  return "\(grouped(events)) events lost\(open)" + missingText(recording.session.missing.count)
}

/// What a closing line says of processes that are not recorded; empty where there are none.
func missingText(_ count: Int) -> String {
  if count == 0 { return "" }
  return ", \(counted(count, "process", plural: "processes")) missing (nopscope info)"
}
