// SPDX-License-Identifier: Apache-2.0

import Glibc

/// What is fuzzed: each reads one byte string as hostile input.
///
/// A crash, a hang or a sanitizer's report is the finding; beside those each target compares what
/// it has read with what must hold of any input.
public enum FuzzTarget: String, CaseIterable, Sendable {
  /// The ELF reader: headers, symbols, relocations, unwinding tables.
  case elf
  /// Discovery of call sites, the recorded table, and what is written into a file.
  case sites
  /// A recording's directory: every reader, every view and every export.
  case recording
  /// The filter grammar, its globs, and the demangler behind them.
  case filter
  /// The messages that the recorder takes from agents.
  case message
}

/// Runs inputs.
///
/// Keeps what is costly to make from one input to the next; belongs to one thread.
public final class FuzzRunner {
  private let recording: RecordingFuzzing
  private let sites: SitesFuzzing

  /// `scratch`: an empty folder of the caller's, for those that read files; on tmpfs if possible.
  public init(scratch: String) throws {
    recording = try RecordingFuzzing(scratch: scratch)
    sites = try SitesFuzzing()
  }

  /// Runs one input; what did not hold, one line each.
  public func run(_ target: FuzzTarget, _ input: [UInt8]) -> [String] {
    var broken = Broken()
    switch target {
    case .elf: fuzzELF(input, &broken)
    case .sites: sites.run(input, &broken)
    case .recording: recording.run(input, &broken)
    case .filter: fuzzFilter(input, &broken)
    case .message: fuzzMessage(input, &broken)
    }
    return broken.lines
  }
}

/// What did not hold of an input.
struct Broken {
  private(set) var lines: [String] = []

  mutating func unless(_ holds: Bool, _ text: @autoclosure () -> String) {
    if !holds && lines.count < 20 { lines.append(text()) }
  }
}
