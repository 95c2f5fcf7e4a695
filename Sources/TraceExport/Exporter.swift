// SPDX-License-Identifier: Apache-2.0

import RecordingReader
import RecordingSchema
import TraceAnalysis

/// Where an export goes.
public enum ExportDestination: Sendable {
  case standardOutput
  /// A file, or for `ExportFormat.isFolder` a directory to be made.
  case path(String)
}

/// Writes a recording in another tool's format.
///
/// Streams: memory is that of the functions' names and the open calls, whatever the recording's
/// length (folded stacks and flame graphs: of the merged call tree). The destination is replaced when
/// the export is complete; until then it stays as it was.
public struct Exporter {
  /// What is exported.
  public var recording: Recording
  /// What it becomes.
  public var format: ExportFormat
  /// Of folded stacks and flame graphs alone. Nil: times where there are any, else calls.
  public var foldedWeight: FoldedWeight?
  /// What is exported; everything by default.
  public var filter = ReadingFilter.all

  /// Exports `recording` as `format`.
  public init(_ recording: Recording, as format: ExportFormat) {
    self.recording = recording
    self.format = format
  }

  /// Exports. `progress` is called with a fraction of the work after each chunk; where it throws,
  /// the export is given up and its error is thrown on. Throws `ExportError`.
  public func export(
    to destination: ExportDestination, progress: (Double) throws -> Void = { _ in }
  ) throws -> ExportSummary {
    try requireMatter()
    if format == .uftrace { return try exportFolder(destination, progress) }
    let file = try open(destination)
    var summary: ExportSummary
    switch format {
    case .perfetto:
      var export = SliceExport(
        PerfettoWriter(file, recording), recording, wantsValues: true)
      summary = try export.run(recording, choosing: filter, progress: progress)
    case .chrome:
      var export = SliceExport(ChromeWriter(file), recording, wantsValues: true)
      summary = try export.run(recording, choosing: filter, progress: progress)
      export.writer.finish()
    case .speedscope:
      var export = SliceExport(
        SpeedscopeWriter(file, recording), recording, wantsValues: false)
      summary = try export.run(recording, choosing: filter, progress: progress)
      export.writer.finish(export.functions)
    case .folded, .flamegraph, .uftrace: summary = try exportTree(file.buffer, progress)
    }
    try file.finish()
    summary.bytes = file.buffer.written
    return summary
  }

  private func open(_ destination: ExportDestination) throws(ExportError) -> OutputFile {
    switch destination {
    case .standardOutput: OutputFile(standardOutput: ())
    case .path(let path): try OutputFile(path: path)
    }
  }

  private func exportFolder(
    _ destination: ExportDestination, _ progress: (Double) throws -> Void
  ) throws -> ExportSummary {
    guard case .path(let path) = destination else { throw ExportError.needsFolder(format: format) }
    let folder = try OutputFolder(path: path)
    var export = SliceExport(
      UftraceWriter(folder, recording), recording, wantsValues: false)
    var summary = try export.run(recording, choosing: filter, progress: progress)
    try export.writer.finish(export.functions)
    try folder.finish()
    summary.leftOut = export.writer.leftOut
    summary.bytes = folder.bytes
    return summary
  }

  private func exportTree(
    _ output: OutputBuffer, _ progress: (Double) throws -> Void
  ) throws -> ExportSummary {
    var failure: (any Error)?
    let tree = withoutActuallyEscaping(progress) { progress in
      CallTree(of: recording, choosing: filter) { fraction in
        do { if failure == nil { try progress(fraction) } } catch { failure = error }
      }
    }
    if let failure { throw failure }
    let weight = foldedWeight ?? (tree.hasTimes ? .selfTime : .calls)
    if weight == .selfTime && !tree.hasTimes { throw noEvents() }
    switch format {
    case .flamegraph:
      let command = recording.session.command.joined(separator: " ")
      FlamegraphExport(
        tree, weight, title: command.isEmpty ? recording.directory : command, to: output
      ).write()
    default: FoldedExport(tree, weight, to: output).write()
    }
    var summary = ExportSummary()
    summary.calls = tree.nodes.dropFirst().reduce(tree.foldedCalls) { $0 &+ $1.calls }
    summary.functions = tree.functions.count
    summary.threads = recording.processes.reduce(0) { sum, process in
      sum + process.threads.filter { filter.isChosen(process, $0) }.count
    }
    summary.lostEvents = recording.lostEvents
    summary.problems = recording.problems + tree.problems + recording.symbolProblems
    if tree.foldedCalls > 0 {
      summary.problems.append(
        "\(tree.foldedCalls) calls did not fit into the call tree: their callers have their time")
    }
    return summary
  }
}

// MARK: - Recordings that do not hold what a format needs

extension Exporter {
  private var tracerNames: String {
    let names = Set(recording.processes.compactMap { $0.tracer?.name })
    return names.isEmpty
      ? recording.session.tracerName ?? "unknown" : names.sorted().joined(separator: ", ")
  }

  private func noEvents() -> ExportError {
    .noEvents(directory: recording.directory, format: format, tracer: tracerNames)
  }

  private func requireMatter() throws(ExportError) {
    var hasEvents = false
    var hasTree = false
    for process in recording.processes {
      for thread in process.threads where filter.isChosen(process, thread) {
        hasEvents = hasEvents || thread.chunkCount > 0
        hasTree = hasTree || thread.hasCallTree
      }
    }
    if hasEvents || (hasTree && format.isTree) { return }
    let streaming: [Tracer] = [.functionGraph, .function]
    if recording.processes.contains(where: { $0.tracer.map(streaming.contains) ?? true }) {
      throw .nothingCalled(directory: recording.directory)
    }
    if !format.isTree { throw noEvents() }
    if recording.processes.contains(where: { $0.tracer == .callGraph }) {
      throw .nothingCalled(directory: recording.directory)
    }
    throw .noStacks(directory: recording.directory, tracer: tracerNames)
  }
}
