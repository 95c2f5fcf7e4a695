// SPDX-License-Identifier: Apache-2.0

import Glibc
import RecordingReader
import TraceAnalysis
import TraceExport
import Units

/// Writes a recording's directory and reads it in every way.
///
/// It uses the product's file access. On tmpfs that takes some microseconds a file.
struct RecordingFuzzing {
  private let directory: String

  init(scratch: String) throws {
    directory = scratch + "/recording"
    for folder in [directory, directory + "/symbols"] {
      guard mkdir(folder, 0o700) == 0 || errno == EEXIST else {
        throw ScratchError(path: folder, errno: errno)
      }
    }
  }

  struct ScratchError: Error, CustomStringConvertible {
    var path: String
    var errno: Int32
    var description: String { "\(path): cannot be made: \(String(cString: strerror(errno)))" }
  }

  func run(_ input: [UInt8], _ broken: inout Broken) {
    let files = RecordingInput(input).files
    for (name, bytes) in files { write(bytes, to: name, &broken) }
    defer { for name in files.keys { unlink("\(directory)/\(name)") } }
    guard let recording = try? Recording(directory: directory) else { return }
    readAll(recording)
    compareSums(recording, &broken)
    var size = input.count
    for bytes in files.values { size += bytes.count }
    // An event of one or two bytes may make a line with the longest name: of a function, or a path.
    let names = files.reduce(0) { $0 + ($1.key.hasSuffix(".events") ? 0 : $1.value.count) }
    let limit = 1 << 22 + size * (1024 + names)
    for view in View.allCases {
      let written = view.write(recording, limit: limit)
      broken.unless(written <= limit, "\(view): \(written) bytes and more of text for \(size)")
    }
    // One format only: four take longer than all the rest. The input's length selects it.
    let format = Self.formats[input.count % Self.formats.count]
    _ = try? Exporter(recording, as: format).export(to: .path("/dev/null"))
  }

  private static let formats: [ExportFormat] = [.perfetto, .chrome, .speedscope, .folded]

  private func write(_ bytes: [UInt8], to name: String, _ broken: inout Broken) {
    let file = open("\(directory)/\(name)", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    broken.unless(
      file >= 0 && Glibc.write(file, bytes, bytes.count) == bytes.count,
      "\(name): cannot be written: \(String(cString: strerror(errno)))")
    close(file)
  }

  /// Reads what no view shows: times, addresses, sizes.
  private func readAll(_ recording: Recording) {
    _ = (recording.lostEvents, recording.bytes, recording.threadCount, recording.isCorrupted)
    for process in recording.processes {
      _ = process.nanoseconds(ofUnits: process.endTime &- process.startTime)
      var named = 0
      for thread in process.threads {
        _ = thread.forEachEvent { event in
          guard named < 256, event.kind == .entry || event.kind == .parent else { return }
          named += 1
          if event.kind == .entry { _ = process.function(event.number).label(number: event.number) }
          if event.kind == .parent {
            _ = process.caller(at: event.returnAddress, time: event.time)
          }
        }
      }
    }
  }

  /// Two readers must count the same calls. They share no code except the event cursor.
  private func compareSums(_ recording: Recording, _ broken: inout Broken) {
    let report = Report(of: recording)
    let uncalled = Uncalled(of: recording, report: report)
    broken.unless(
      uncalled.functions.count <= uncalled.armed, "more functions were not called than armed")
    for row in difference(from: report, to: report) {
      broken.unless(row.calls == 0 && row.total ?? 0 == 0, "\(row.label) differs from itself")
    }
    let tree = CallTree(of: recording)
    let hasProfile = recording.processes.contains { $0.threads.contains(where: \.hasProfile) }
    let calls = tree.nodes.dropFirst().reduce(tree.foldedCalls) { $0 &+ $1.calls }
    broken.unless(
      hasProfile || calls == report.calls, "the report has \(report.calls) calls, the tree \(calls)"
    )
    for row in report.rows {
      guard let times = row.times else { continue }
      broken.unless(times.minimum <= times.maximum, "\(row.label): minimum above maximum")
      if let median = times.median {
        broken.unless(
          times.minimum <= median && median <= times.maximum, "\(row.label): median outside")
      }
    }
  }
}

/// A recording as text.
private enum View: CaseIterable {
  case graph, function

  /// Bytes written, up to the first block beyond `limit`.
  func write(_ recording: Recording, limit: Int) -> Int {
    var written = 0
    let buffer = TextBuffer { block in
      written += block.count
      return written <= limit
    }
    switch self {
    case .graph: _ = FunctionGraphText.write(recording, to: buffer, as: .sinceStart)
    case .function: _ = FunctionText.write(recording, calls: .max, to: buffer)
    }
    return written
  }
}
