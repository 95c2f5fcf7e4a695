// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials

/// One loaded instance of an ELF file, as `PID-N.modules` has it.
public struct ModuleRecord: Sendable, Equatable {
  /// Of the process, from 1.
  public var generation: Int
  public var path: String
  /// Lower-case hexadecimal; nil where the file has none.
  public var buildID: String?
  public var loadBias: UInt64
  public var textStart: UInt64
  public var textEnd: UInt64
  /// In units of the recording's clock.
  public var loadTime: UInt64
  public var unloadTime: UInt64?
  /// The number of its call site 0.
  public var firstFunction: UInt64
  public var sites: Int
  public var armed: Int
  public var skipped: Int
  public var status: String
  /// The name of its file in symbols/, where it is not named after its build-id or its path.
  public var symbols: String?
}

extension ModuleRecord {
  /// Longest line that is looked at, in bytes: paths are at most 4096.
  private static let longestLine = 1 << 16

  /// Reads JSON lines, load and unload; what is wrong is told to `problem`, what is right is kept.
  static func parse(_ bytes: [UInt8], name: String, problem: (String) -> Void) -> [ModuleRecord] {
    var modules: [ModuleRecord] = []
    var byGeneration: [Int: Int] = [:]
    let decoder = JSONDecoder()
    let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    for (number, line) in lines.enumerated() where !line.isEmpty {
      guard line.count <= longestLine, let entry = try? decoder.decode(Line.self, from: Data(line))
      else {
        // A last line without its newline was being written when the brain died.
        if number == lines.count - 1 { continue }
        problem("\(name):\(number + 1): expected a module's JSON line, skipped")
        continue
      }
      if let load = entry.load {
        byGeneration[load.generation] = modules.count
        modules.append(ModuleRecord(load))
      } else if let unload = entry.unload {
        if let index = byGeneration[unload.generation] {
          modules[index].unloadTime = UInt64(clamping: unload.time)
        } else {
          problem("\(name):\(number + 1): unload of generation \(unload.generation), never loaded")
        }
      }
    }
    return modules
  }

  private init(_ load: Line.Load) {
    let hexadecimal = load.buildID?.lowercased()
    let isValid = hexadecimal.map { !$0.isEmpty && $0.count <= 128 && $0.allSatisfy(\.isHexDigit) }
    self.init(
      generation: load.generation, path: load.path,
      // It becomes a file's name: nothing but digits may get there.
      buildID: isValid == true ? hexadecimal : nil,
      loadBias: UInt64(bitPattern: load.loadBias ?? 0),
      textStart: UInt64(bitPattern: load.textStart ?? 0),
      textEnd: UInt64(bitPattern: load.textEnd ?? 0),
      loadTime: UInt64(clamping: load.time ?? 0), unloadTime: nil,
      firstFunction: UInt64(clamping: load.firstFunction ?? 0),
      sites: Int(clamping: max(0, min(load.sites ?? 0, 1 << 32))),
      armed: Int(clamping: max(0, load.armed ?? 0)),
      skipped: Int(clamping: max(0, load.skipped ?? 0)), status: load.status ?? "",
      symbols: load.symbols.flatMap { Self.isFileName($0) ? $0 : nil })
  }

  /// No more than what it is made of: hexadecimal digits, or `path-`, and a hash.
  private static func isFileName(_ name: String) -> Bool {
    let letters = Set("0123456789abcdef-path")
    return !name.isEmpty && name.utf8.count <= 160 && name.allSatisfy { letters.contains($0) }
  }

  private struct Line: Decodable {
    struct Load: Decodable {
      var generation: Int
      var path: String
      var buildID: String?
      var loadBias, textStart, textEnd, time, firstFunction, sites, armed, skipped: Int64?
      var status, symbols: String?
    }
    struct Unload: Decodable {
      var generation: Int
      var time: Int64
    }
    var load: Load?
    var unload: Unload?
  }
}
