// SPDX-License-Identifier: Apache-2.0

import RecordingReader
import TextFormat
import TraceExport

/// The last line of `nopscope export`: what was written where, and how to look at it.
func exportClosing(
  _ summary: ExportSummary, of recording: Recording, _ output: String, _ format: ExportFormat
) -> String {
  var line = output == "-" ? "\(format): " : "\(output): "
  line += "\(counted(summary.calls, "call")) of "
  line += "\(counted(summary.functions, "function")) in \(counted(summary.threads, "thread"))"
  let parts: [(UInt64, String)] = [
    (summary.unwound, "unwound"), (summary.stillOpen, "still open"),
    (summary.cutOff, "cut off by gaps"), (summary.startMissing, "begun in a gap or before it"),
    (summary.entryOnly, "entries without exits"), (summary.leftOut, "too deep, left out"),
  ]
  for (count, what) in parts where count > 0 {
    line += ", \(grouped(count)) \(what)"
  }
  line += "; \(lossText(summary.lostEvents, recording)); "
  line += "\(grouped(summary.bytes)) bytes"
  return neutralised(output == "-" ? line : "\(line); \(viewer(of: output, format))")
}

/// What shows a file of this format.
private func viewer(of output: String, _ format: ExportFormat) -> String {
  switch format {
  case .perfetto: "open it at https://ui.perfetto.dev"
  case .chrome: "open it in chrome://tracing or at https://ui.perfetto.dev"
  case .flamegraph: "open it in a browser"
  case .folded: "flamegraph.pl \(output) > flame.svg"
  case .speedscope: "open it at https://www.speedscope.app"
  case .uftrace: "uftrace tui -d \(output)"
  }
}
