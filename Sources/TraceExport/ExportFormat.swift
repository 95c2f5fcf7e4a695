// SPDX-License-Identifier: Apache-2.0

/// The formats that a recording can be exported to.
public enum ExportFormat: String, CaseIterable, Sendable, CustomStringConvertible {
  /// Perfetto's protobuf trace: ui.perfetto.dev, trace_processor.
  case perfetto
  /// Trace Event Format, JSON: chrome://tracing, Perfetto, and others.
  case chrome
  /// One line a stack: flamegraph.pl, inferno, speedscope.
  case folded
  /// One page of HTML: a flame graph to search and zoom in.
  case flamegraph
  /// speedscope's own JSON: speedscope.app.
  case speedscope
  /// uftrace's data directory: its replay, report, graph, tui.
  case uftrace

  /// Its name on the command line.
  public var description: String { rawValue }

  /// No terminal shows it.
  public var isBinary: Bool { self == .perfetto }
  /// The merged call tree; else call by call.
  public var isTree: Bool { self == .folded || self == .flamegraph }
  /// A directory of files; else one file.
  public var isFolder: Bool { self == .uftrace }
}
