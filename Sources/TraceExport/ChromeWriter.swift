// SPDX-License-Identifier: Apache-2.0

import RecordingReader

/// Trace Event Format, as JSON: an object with an array of events, a line each.
///
/// Source: the document "Trace Event Format" of the Catapult project. Times are microseconds, here
/// with three digits after the point: nanoseconds. Begin and end are events of their own (B and E),
/// so that none has to be held back until its end is known.
struct ChromeWriter: SliceWriter {
  private let file: OutputFile
  private let output: OutputBuffer
  private var names = JSONNames()
  private var sources = JSONSources()
  private var isFirst = true
  /// `"pid":1,"tid":2,"ts":` of the thread.
  private var identity: [UInt8] = []

  init(_ file: OutputFile) {
    self.file = file
    output = file.buffer
    output.add(literal: "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[")
  }

  func check() throws { try file.check() }

  func finish() { output.add(literal: "\n]}\n") }

  mutating func begin(_ thread: ExportedThread) {
    let ids = "\"pid\":\(thread.process.pid),\"tid\":\(thread.thread.id)"
    identity = Array("\(ids),\"ts\":".utf8)
    for (kind, name) in [("process", thread.processName), ("thread", thread.threadName)] {
      beginLine()
      output.add("\"M\",\(ids),\"name\":\"\(kind)_name\",\"args\":{\"name\":")
      output.add(jsonBytes(name))
      output.add(literal: "}}")
    }
  }

  mutating func open(
    _ function: ExportedFunction, _ functions: borrowing ExportedFunctions, at time: UInt64,
    _ details: SliceDetails
  ) {
    event("\"B\",", at: time)
    output.add(literal: ",\"name\":")
    output.add(names.name(function.index, functions))
    end(details, sources.source(function.index, functions))
  }

  mutating func close(_ function: ExportedFunction, at time: UInt64, _ details: SliceDetails) {
    event("\"E\",", at: time)
    end(details)
  }

  mutating func instant(
    _ function: ExportedFunction, _ functions: borrowing ExportedFunctions, at time: UInt64,
    _ details: SliceDetails
  ) {
    event("\"i\",\"s\":\"t\",", at: time)
    output.add(literal: ",\"name\":")
    output.add(names.name(function.index, functions))
    end(details, sources.source(function.index, functions))
  }

  mutating func lost(_ events: UInt64, at time: UInt64) {
    event("\"i\",\"s\":\"t\",", at: time)
    output.add(literal: ",\"name\":\"[events lost]\",\"args\":{\"events\":")
    if events == 0 { output.add(literal: "null") } else { output.add(decimal: events) }
    output.add(literal: "}}")
  }

  mutating func end(_ thread: ExportedThread, at time: UInt64) {}

  private mutating func beginLine() {
    if isFirst { output.add(literal: "\n{\"ph\":") } else { output.add(literal: ",\n{\"ph\":") }
    isFirst = false
  }

  @inline(__always)
  private mutating func event(_ kind: StaticString, at time: UInt64) {
    beginLine()
    output.add(literal: kind)
    output.add(identity)
    let (microseconds, rest) = time.quotientAndRemainder(dividingBy: 1000)
    output.add(decimal: microseconds)
    output.add(UInt8(ascii: "."))
    output.add(decimal: rest, width: 3)
  }

  @inline(__always)
  private func end(_ details: SliceDetails, _ source: [UInt8] = []) {
    if !details.isEmpty || !source.isEmpty { addArguments(details, source) }
    output.add(literal: "}")
  }

  private func addArguments(_ details: SliceDetails, _ source: [UInt8]) {
    var fields: [(name: StaticString, json: [UInt8])] = []
    if let note = details.note { fields.append(("note", jsonBytes(note.rawValue))) }
    if !source.isEmpty { fields.append(("source", source)) }
    if !details.arguments.isEmpty { fields.append(("arguments", jsonBytes(details.arguments))) }
    if let result = details.result { fields.append(("return", jsonBytes(result))) }
    for (index, field) in fields.enumerated() {
      output.add(index == 0 ? ",\"args\":{\"" : ",\"")
      output.add(literal: field.name)
      output.add(literal: "\":")
      output.add(field.json)
    }
    output.add(literal: "}")
  }
}
