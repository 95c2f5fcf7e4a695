// SPDX-License-Identifier: Apache-2.0

import CommandOutput
import FunctionNames
import Recorder
import TextFormat

/// What nopscope prints when it has taken a snapshot: which, why, how many events.
func snapshotTexts(_ snapshot: Snapshot, most: Int) -> [String] {
  var lines: [String] = []
  if let path = snapshot.path {
    var line = "\(path): \(causeText(snapshot.cause)): \(counted(snapshot.events, "event"))"
    if snapshot.lostEvents > 0 {
      line += ", \(grouped(snapshot.lostEvents)) lost while it was copied"
    }
    lines.append(line)
  }
  if snapshot.isLast { lines.append("--snapshots \(most): no other snapshot is taken") }
  return lines
}

private func causeText(_ cause: Snapshot.Cause) -> String {
  switch cause {
  case .call(let function, let nanoseconds, let thread, let name):
    "\(NameStyle.short.name(function)) took \(durationText(nanoseconds)) in thread \(thread) "
      + "(\(name))"
  case .signal: "a signal asked for it"
  }
}
