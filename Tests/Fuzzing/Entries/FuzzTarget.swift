// SPDX-License-Identifier: Apache-2.0

import Glibc

/// What is fuzzed: each reads one byte string as hostile input.
///
/// A finding is a crash, a hang or a sanitizer's report. In addition, each target checks properties
/// that what it has read must have for every input.
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
/// Keeps expensive objects from one input to the next. Belongs to one thread.
public final class FuzzRunner {
  private let recording: RecordingFuzzing
  private let sites: SitesFuzzing

  /// `scratch`: an empty folder of the caller, for targets that read files; on tmpfs if possible.
  public init(scratch: String) throws {
    recording = try RecordingFuzzing(scratch: scratch)
    sites = try SitesFuzzing()
  }

  /// Runs one input and returns one line for each property that did not hold.
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

/// The properties that did not hold for one input.
struct Broken {
  private(set) var lines: [String] = []

  mutating func unless(_ holds: Bool, _ text: @autoclosure () -> String) {
    if !holds && lines.count < 20 { lines.append(text()) }
  }
}
