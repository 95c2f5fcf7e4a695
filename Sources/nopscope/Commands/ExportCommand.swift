// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CRecorder
import CommandOutput
import Glibc
import RecordingReader
import TraceAnalysis
import TraceExport

extension ExportFormat: ExpressibleByArgument {}

struct ExportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "export",
    abstract: "Write a recording for another viewer.",
    discussion: """
      perfetto    a trace for ui.perfetto.dev: the smallest; for long recordings
      chrome      JSON trace events, for chrome://tracing and others
      flamegraph  one page of HTML, to search and zoom in with any browser
      folded      one line a stack, self time in nanoseconds, for flamegraph.pl
      speedscope  for speedscope.app
      uftrace     a directory for uftrace replay, report, graph and tui

      A call that ended without returning is closed where it ended; a call that is still open is \
      closed at its process's end. perfetto and chrome say so in a note. The tracers callgraph, \
      profile and hits keep no events: of them, flamegraph and folded export callgraph.

      EXAMPLES
        nopscope export --format perfetto -o trace.perfetto
        nopscope export --format flamegraph -o flame.html
        nopscope export build.data --format folded | flamegraph.pl > flame.svg
        nopscope export --format uftrace -o uftrace.data
        uftrace tui -d uftrace.data

      EXIT STATUS
        0  the recording was exported; stderr names the parts that are damaged
        1  it was not exported, and nothing was written
        64 the command line is wrong
      """)

  @OptionGroup var recording: RecordingArguments

  @Option(help: "perfetto, chrome, flamegraph, folded, speedscope or uftrace.")
  var format: ExportFormat

  @Option(
    name: [.short, .customLong("output")],
    help: "The file to write, or for uftrace the directory to make. -: standard output.",
    completion: .file())
  var output = "-"

  @Flag(help: "flamegraph and folded: count calls instead of nanoseconds.")
  var count = false

  func validate() throws {
    if count && !format.isTree {
      throw ValidationError(
        "--count: only the formats flamegraph and folded count calls, found \(format)")
    }
    if output == "-" && format.isFolder {
      throw ValidationError("--format \(format) writes a directory: name it with -o DIR")
    }
    if output.isEmpty { throw ValidationError("-o: expected a file's name, found nothing") }
  }

  func run() throws { try export(recording, format, output, count: count) }
}

/// `nopscope export`: writes `recording` to `output`, and says what was written.
func export(
  _ recording: RecordingArguments, _ format: ExportFormat, _ output: String, count: Bool = false
) throws {
  if output == "-" && format.isBinary && isatty(1) == 1 {
    complain("\(format) is binary and standard output is a terminal: name a file with -o FILE")
    throw ExitCode(1)
  }
  nrc_ignore_file_size_signal()  // a write beyond the limit of a file's size then fails instead
  let opened = try recording.open()
  var exporter = Exporter(opened, as: format)
  exporter.foldedWeight = count ? .calls : nil
  exporter.filter = try recording.filter(opened)
  recording.tellChosen()
  if !exporter.filter.selectsCalls,
    let warning = ExportSize(opened, exporter.filter, format).warning
  {
    complain("\(recording.directory): \(warning)")
  }
  let interruption = Interruption()
  let progress = Progress("exporting \(recording.directory)")
  do {
    let summary = try exporter.export(
      to: output == "-" ? .standardOutput : .path(output)
    ) { fraction in
      try interruption.check()
      progress.show(fraction)
    }
    progress.finish()
    complainOf(summary.problems, in: recording.directory)
    write(exportClosing(summary, of: opened, output, format) + "\n", to: 2)
  } catch let interrupted as Interruption.Caught {
    progress.finish()
    interruption.die(of: interrupted)
  } catch {
    progress.finish()
    // The reader of the pipe has closed it: it ends as every other command does then.
    if case ExportError.cannotWrite(_, _, EPIPE) = error {
      signal(SIGPIPE, SIG_DFL)
      raise(SIGPIPE)
    }
    complain("\(error)")
    throw ExitCode(1)
  }
}
