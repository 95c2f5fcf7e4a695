// SPDX-License-Identifier: Apache-2.0

import CommandOutput
import RecordingReader
import RecordingSchema
import TextFormat

/// What the options of `record` kept out of a recording: one line each.
///
/// A table without these lines would look as if it had all calls.
func leftOutTexts(_ recording: Recording) -> [String] {
  let options = recording.session.options
  var lines: [String] = []
  func listed(_ rules: [String]?) -> String? {
    rules.flatMap { $0.isEmpty ? nil : $0.map { "'\($0)'" }.joined(separator: ", ") }
  }
  if recording.processes.contains(where: \.isOverwriting) {
    lines.append("only the end of each thread is here: a flight recorder has overwritten the rest")
  }
  if let least = options.thresholdNanoseconds, least > 0 {
    lines.append("calls shorter than \(durationText(least)) are not here")
  }
  if let depth = options.maximumDepth, depth > 0 {
    lines.append("calls deeper than \(depth) are not here")
  }
  lines += timeTexts(options, listed)
  if let rules = listed(options.graph) { lines.append("only what \(rules) calls is here") }
  if let rules = listed(options.threads) { lines.append("only threads \(rules) are here") }
  if let rules = listed(options.filter) {
    lines.append("only functions of --filter \(rules) are here")
  }
  if let rules = listed(options.notrace) {
    lines.append("functions of --notrace \(rules) are not here")
  }
  return lines
}

/// Why a recording is shorter than the program's run.
private func timeTexts(
  _ options: Session.Options, _ listed: ([String]?) -> String?
) -> [String] {
  var lines: [String] = []
  if let delay = options.delayNanoseconds {
    lines.append("what was called in the first \(durationText(delay)) is not here")
  }
  if let rules = listed(options.startOn) {
    lines.append("what was called before \(rules) is not here")
  }
  if let rules = listed(options.stopOn) {
    lines.append("what was called after the first \(rules) is not here")
  }
  if let duration = options.durationNanoseconds {
    lines.append("the recording ended \(durationText(duration)) after it began")
  }
  return lines
}

/// Says above a table what is not in it.
func tellLeftOut(_ recording: Recording) {
  for line in leftOutTexts(recording) { complain("\(recording.directory): \(line)") }
}
