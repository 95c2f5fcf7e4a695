// SPDX-License-Identifier: Apache-2.0

import RecordingReader
import Units

/// A function of one process, as it is exported.
struct ExportedFunction {
  /// Of the process.
  var number: UInt32
  /// In `ExportedFunctions.all`.
  var index: Int32
}

/// The functions that occur in an export, each named once.
///
/// One call site of one file is one function, whatever its number in which process. Of numbers
/// that no module has, `mostUnknown` are kept apart: a damaged file may have any.
struct ExportedFunctions {
  struct Known {
    var label: String
    /// As the linker sees it; nil where no symbol is known.
    var rawName: String?
    /// Path of its module; empty where it is not known.
    var module: String
    /// Where it is defined; nil where that is not known.
    var source: SourceLine?
    /// The module's file name; empty where it is not known.
    var moduleName: String { module.split(separator: "/").last.map(String.init) ?? module }
  }

  private static let mostUnknown = 1 << 16
  private static let mostKnown: UInt64 = 1 << 22

  private(set) var all: [Known] = []
  private var byName: [String: Int32] = [:]
  private var process: ProcessRecording?
  /// Of the process, by number: the index, or -1.
  private var known: [Int32] = []
  private var others: [UInt32: Int32] = [:]

  mutating func begin(_ process: ProcessRecording) {
    self.process = process
    let last = process.modules.map { $0.firstFunction &+ UInt64($0.sites) }.max() ?? 0
    known = Array(repeating: -1, count: Int(min(last, Self.mostKnown)))
    others = [:]
  }

  @inline(__always)
  mutating func function(_ number: UInt32) -> ExportedFunction {
    let place = Int(number)
    if place < known.count && known[place] >= 0 {
      return ExportedFunction(number: number, index: known[place])
    }
    return find(number)
  }

  private mutating func find(_ number: UInt32) -> ExportedFunction {
    let place = Int(number)
    if place < known.count {
      known[place] = add(number)
      return ExportedFunction(number: number, index: known[place])
    }
    if let index = others[number] { return ExportedFunction(number: number, index: index) }
    if others.count >= Self.mostUnknown {
      return ExportedFunction(
        number: .max, index: add(Known(label: "unknown function", module: "")))
    }
    let index = add(number)
    others[number] = index
    return ExportedFunction(number: number, index: index)
  }

  private mutating func add(_ number: UInt32) -> Int32 {
    guard let found = process?.function(UInt64(number)) else {
      return add(Known(label: "function \(number)", module: ""))
    }
    let known = Known(
      label: found.label(number: UInt64(number)), rawName: found.rawName,
      module: found.modulePath ?? "", source: found.source)
    return add(known, at: found.offset ?? .zero)
  }

  private mutating func add(_ function: Known, at offset: ModuleOffset = .zero) -> Int32 {
    // Functions of one name, as two constructors or two statics, differ in where they are.
    let key = "\(function.module)\0\(offset)\0\(function.rawName ?? function.label)"
    if let index = byName[key] { return index }
    let index = Int32(all.count)
    all.append(function)
    byName[key] = index
    return index
  }
}
