// SPDX-License-Identifier: Apache-2.0

import RecordingSchema

/// The words after `nopscope record` where they are plain: flags, options by their full names or
/// `-o`, each with its value in the next word, then the program.
///
/// The argument parser finds a command's options by reflection, and the runtime looks up the type
/// of each property by its name. That takes longer than anything else at a start, so a plain line
/// does not wait for it. A line that is not plain, or is wrong, is left to the parser, which says
/// why.
struct PlainRecordLine {
  private(set) var settings = RecordSettings()
  /// The program and its arguments.
  private(set) var program: [String] = []

  /// Nil where the parser is needed.
  init?(_ words: [String]) {
    var rest = words[...]
    while let word = rest.popFirst() {
      if word == "--" {
        program = Array(rest)
        break
      }
      if !word.hasPrefix("-") {
        program = [word] + rest
        break
      }
      if setFlag(word) { continue }
      guard let value = rest.popFirst(), Self.isPlain(value), set(word, value) else { return nil }
    }
    guard let first = program.first, Self.isPlain(first) else { return nil }
    do { try settings.validate() } catch { return nil }
  }

  private static func isPlain(_ word: String) -> Bool { !word.isEmpty && !word.hasPrefix("-") }

  /// False for what is no flag.
  private mutating func setFlag(_ option: String) -> Bool {
    switch option {
    case "-q", "--quiet": settings.isQuiet = true
    case "--no-sched": settings.noSwitches = true
    case "--require-sites": settings.requiresSites = true
    default: return false
    }
    return true
  }

  /// False for an option that is unknown or does not have this value.
  private mutating func set(_ option: String, _ value: String) -> Bool {
    switch option {
    case "-o", "--output": settings.output = value
    case "--filter": settings.filter.append(value)
    case "--notrace": settings.notrace.append(value)
    case "--graph": settings.graph.append(value)
    case "--args": settings.arguments.append(value)
    case "--thread": settings.threads.append(value)
    case "--tracer": return Self.assign(Tracer(rawValue: value), to: &settings.tracer)
    case "--max-depth": return Self.assign(UInt32(value), to: &settings.maxDepth)
    case "--threshold": return Self.assign(TimeSpan(argument: value), to: &settings.threshold)
    case "--overwrite": return Self.assign(ByteSize(argument: value), to: &settings.overwrite)
    default: return setTrigger(option, value)
    }
    return true
  }

  private mutating func setTrigger(_ option: String, _ value: String) -> Bool {
    switch option {
    case "--start-on": settings.startOn.append(value)
    case "--stop-on": settings.stopOn.append(value)
    case "--snapshot-on": settings.snapshotOn = value
    case "--snapshot-signal": settings.snapshotSignal = value
    case "--snapshots": return Self.assign(Int(value), to: &settings.snapshots)
    case "--delay": return Self.assign(TimeSpan(argument: value), to: &settings.delay)
    case "--duration": return Self.assign(TimeSpan(argument: value), to: &settings.duration)
    default: return false
    }
    return true
  }

  private static func assign<Value>(_ value: Value?, to place: inout Value) -> Bool {
    guard let value else { return false }
    place = value
    return true
  }

  private static func assign<Value>(_ value: Value?, to place: inout Value?) -> Bool {
    place = value
    return value != nil
  }
}
