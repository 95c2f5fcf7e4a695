// SPDX-License-Identifier: Apache-2.0

import RecordingReader

/// speedscope's own file format: one evented profile a thread.
///
/// Source: speedscope.app/file-format-schema.json. The names come last in the file, since they are
/// known last. A profile's events must nest and their times never fall: the stream keeps to both.
/// The format has no room for notes. A frame's file is its source file, or its module's where that is not
/// known.
struct SpeedscopeWriter: SliceWriter {
  private let file: OutputFile
  private let output: OutputBuffer
  private var isFirstProfile = true
  private var isFirstEvent = true

  init(_ file: OutputFile, _ recording: Recording) {
    self.file = file
    output = file.buffer
    output.add(literal: "{\"$schema\":\"https://www.speedscope.app/file-format-schema.json\",")
    output.add(literal: "\"exporter\":\"nopscope\",\"activeProfileIndex\":0,\"name\":")
    output.add(jsonBytes(recording.session.command.joined(separator: " ")))
    output.add(literal: ",\"profiles\":[")
  }

  func check() throws { try file.check() }

  func finish(_ functions: ExportedFunctions) {
    output.add(literal: "\n],\"shared\":{\"frames\":[")
    for (index, function) in functions.all.enumerated() {
      output.add(index == 0 ? "\n{\"name\":" : ",\n{\"name\":")
      output.add(jsonBytes(function.label))
      let path = function.source?.file ?? function.module
      if !path.isEmpty {
        output.add(literal: ",\"file\":")
        output.add(jsonBytes(path))
      }
      if let source = function.source {
        output.add(literal: ",\"line\":")
        output.add(decimal: UInt64(source.line))
      }
      output.add(literal: "}")
    }
    output.add(literal: "\n]}}\n")
  }

  mutating func begin(_ thread: ExportedThread) {
    output.add(isFirstProfile ? "\n" : ",\n")
    isFirstProfile = false
    isFirstEvent = true
    output.add(literal: "{\"type\":\"evented\",\"unit\":\"nanoseconds\",\"name\":")
    output.add(
      jsonBytes(
        "\(thread.processName) \(thread.process.pid): \(thread.threadName) \(thread.thread.id)"))
    output.add(literal: ",\"startValue\":")
    output.add(decimal: thread.startTime)
    output.add(literal: ",\"events\":[")
  }

  mutating func open(
    _ function: ExportedFunction, _ functions: borrowing ExportedFunctions, at time: UInt64,
    _ details: SliceDetails
  ) {
    event("{\"type\":\"O\",\"frame\":", function, at: time)
  }

  mutating func close(_ function: ExportedFunction, at time: UInt64, _ details: SliceDetails) {
    event("{\"type\":\"C\",\"frame\":", function, at: time)
  }

  mutating func instant(
    _ function: ExportedFunction, _ functions: borrowing ExportedFunctions, at time: UInt64,
    _ details: SliceDetails
  ) {
    open(function, functions, at: time, details)
    close(function, at: time, .none)
  }

  mutating func lost(_ events: UInt64, at time: UInt64) {}

  mutating func end(_ thread: ExportedThread, at time: UInt64) {
    output.add(literal: "],\"endValue\":")
    output.add(decimal: max(time, thread.startTime))
    output.add(literal: "}")
  }

  @inline(__always)
  private mutating func event(_ kind: StaticString, _ function: ExportedFunction, at time: UInt64) {
    if isFirstEvent { output.add(literal: "\n") } else { output.add(literal: ",\n") }
    isFirstEvent = false
    output.add(literal: kind)
    output.add(decimal: UInt64(function.index))
    output.add(literal: ",\"at\":")
    output.add(decimal: time)
    output.add(literal: "}")
  }
}
