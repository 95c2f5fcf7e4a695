// SPDX-License-Identifier: Apache-2.0

import RecordingSchema

/// A file of JSON lines, as a reader takes it: what is wrong is skipped and named, the rest counts.
struct JSONLines {
  let bytes: [UInt8]
  /// Of the file.
  let name: String
  /// `a module's`: what its lines are.
  let kind: String
  /// Longer lines are not looked at.
  let longestLine: Int

  private static let mostProblems = 100

  /// Calls `body` with each line that decodes and is sound, and `problem` for each other one.
  ///
  /// `place` is `NAME:NUMBER`.
  func forEach<Line: Decodable>(
    _ type: Line.Type, where isSound: (Line) -> Bool, problem: (String) -> Void,
    body: (_ line: Line, _ place: String) -> Void
  ) {
    var rest = bytes[...]
    var number = 0
    var wrong = 0
    while !rest.isEmpty {
      let end = rest.firstIndex(of: UInt8(ascii: "\n"))
      let text = rest[..<(end ?? rest.endIndex)]
      rest = rest[(end.map { $0 + 1 } ?? rest.endIndex)...]
      number += 1
      if text.isEmpty { continue }
      if text.count <= longestLine, let line = RecordingJSON.decode(type, from: text), isSound(line)
      {
        body(line, "\(name):\(number)")
        continue
      }
      // A last line without its newline was being written when the recorder died.
      if end == nil { continue }
      wrong += 1
      if wrong > Self.mostProblems {
        problem("\(name):\(number): too much of it is wrong: the rest is skipped")
        break
      }
      problem("\(name):\(number): expected \(kind) JSON line, skipped")
    }
  }
}
