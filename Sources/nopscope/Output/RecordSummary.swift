// SPDX-License-Identifier: Apache-2.0

import CommandOutput
import Recorder
import TextFormat

/// What nopscope prints when a recording is done: what went wrong, and one closing line.
struct RecordSummary {
  /// Of the program: its path.
  let image: String
  let server: RecordServer
  let isQuiet: Bool
  private var output: String { server.recordingPath }

  func print() {
    for line in server.warnings { complain(line) }
    let totals = server.moduleTotals
    let events = server.eventTotals()
    if server.tracedProcesses == 0 {
      complain(
        "\(image): no agent connected from it, so nothing is recorded: nopscope doctor "
          + "\(image) says why")
    } else if totals.sites == 0 {
      complain(
        "\(image): no instrumented function in it or its libraries: compile with -pg or "
          + "-fpatchable-function-entry=5")
    }
    if totals.sites > 0, totals.armed == 0, totals.unwanted == totals.sites {
      complain(
        "--filter and --notrace leave no function to trace: nopscope sites lists all names")
    }
    if events.isCorrupted {
      complain("\(output): an anomaly turned the tracer off: nopscope info says more")
    }
    if events.isConfined {
      complain(
        "\(output): a program installed a system call filter that forbids patching: what it loaded "
          + "later is not traced")
    }
    if events.isFull {
      complain("\(output): no space was left: later events are only counted as lost")
    } else if events.hasSharedThread {
      complain(
        "\(output): a child that clone(2) started uses a thread's thread-local storage "
          + "(CLONE_VM without CLONE_SETTLS): from then on the calls of both are only counted as "
          + "lost")
    } else if events.hasThreadWithoutClock {
      complain(
        "\(output): a thread may not read the time stamp counter any more (strict seccomp, or "
          + "PR_SET_TSC): its later calls are only counted as lost")
    } else if events.lostEvents > server.eventsLostBySnapshots {
      complain(
        "\(output): some threads found no memory for their events, which are only counted as lost: "
          + "raise ulimit -f or ulimit -v, or give --overwrite a smaller size")
    }
    if !isQuiet { write(neutralised(closing(totals, events)) + "\n", to: 2) }
  }

  /// `4,812 sites, 4,790 armed, 22 skipped (nopscope sites --skipped); 4.9 MB, 0 lost`.
  private func closing(_ totals: ModuleTotals, _ events: EventTotals) -> String {
    var line = "\(grouped(totals.sites)) site\(totals.sites == 1 ? "" : "s"), "
    line += "\(grouped(totals.armed)) armed, "
    if totals.unwanted > 0 { line += "\(grouped(totals.unwanted)) not wanted, " }
    line += "\(grouped(totals.skipped)) skipped"
    if totals.skipped > 0 { line += " (nopscope sites --skipped)" }
    line += "; "
    if server.tracedProcesses > 1 { line += "\(grouped(server.tracedProcesses)) processes, " }
    if let calls = events.calls, calls > 0 {  // not counted where the process was killed
      line += "\(scaled(calls, ["", " k", " M", " G"])) call\(calls == 1 ? "" : "s"), "
    } else {
      line += "\(scaled(events.bytes, [" B", " kB", " MB", " GB"])), "
    }
    if events.waits > 0 { line += "\(counted(events.waits, "wait")) for the disk, " }
    line += "\(grouped(events.lostEvents)) lost"
    line += missingText(server.missingProcesses)
    if events.unreadable > 0 { line += ", \(events.unreadable) without events" }
    return line
  }
}

/// What nopscope prints when the program has ended and `count` processes are still recorded.
func waitingText(_ count: Int) -> String {
  let what =
    count == 1
    ? "1 process that it started is" : "\(grouped(count)) processes that it started are"
  return "the program has ended; \(what) still recorded: press Ctrl-C to stop that"
}
