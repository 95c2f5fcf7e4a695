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
  /// Places that looked like call sites and are none; and why, as far as that is kept.
  public var skipped: Int
  public var skippedReasons: [SkippedReason] = []
  /// `ok`, or why none of its sites was armed.
  ///
  /// Not safe for a terminal as it is.
  public var status: String
  /// What was planned for each site; nil where the recording does not keep it.
  public var plan: SitePlan?
  /// The name of its file in symbols/, where it is not named after its build-id or its path.
  public var symbols: String?
}

extension ModuleRecord {
  /// Longest line that is looked at, in bytes: a plan has at most one for each site.
  private static let longestLine = 16 << 20
  /// Longest path, in bytes: the agent sends 4000 at most, and what is no UTF-8 becomes three each.
  ///
  /// Functions without a symbol are named after it, and every one of them has its name in memory.
  private static let longestPath = 12000
  private static let mostReasons = 64
  private static let mostProblems = 100

  /// Reads JSON lines, load and unload; what is wrong is told to `problem`, what is right is kept.
  static func parse(_ bytes: [UInt8], name: String, problem: (String) -> Void) -> [ModuleRecord] {
    var modules: [ModuleRecord] = []
    var byGeneration: [Int: Int] = [:]
    let decoder = JSONDecoder()
    var rest = bytes[...]
    var number = -1
    var wrong = 0
    while !rest.isEmpty {
      let end = rest.firstIndex(of: UInt8(ascii: "\n"))
      let line = rest[..<(end ?? rest.endIndex)]
      rest = rest[(end.map { $0 + 1 } ?? rest.endIndex)...]
      number += 1
      if line.isEmpty { continue }
      guard line.count <= longestLine,
        let entry = try? decoder.decode(Line.self, from: Data(line)),
        entry.load?.path.utf8.count ?? 0 <= longestPath
      else {
        // A last line without its newline was being written when the recorder died.
        if end == nil { continue }
        wrong += 1
        if wrong > Self.mostProblems {
          problem("\(name):\(number + 1): too much of it is wrong: the rest is skipped")
          break
        }
        problem("\(name):\(number + 1): expected a module's JSON line, skipped")
        continue
      }
      if let load = entry.load {
        byGeneration[load.generation] = modules.count
        modules.append(ModuleRecord(load))
        if let plan = load.plan, modules[modules.count - 1].plan == nil {
          let sites = modules[modules.count - 1].sites
          problem(
            "\(name):\(number + 1): expected a plan of \(sites) sites such as 12a3u, found "
              + "\(plan.prefix(20))\(plan.count > 20 ? "…" : ""): not used")
        }
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
    let reasons = (load.skippedReasons ?? []).filter { $0.count > 0 }
    skippedReasons = Array(reasons.prefix(Self.mostReasons))
    plan = load.plan.flatMap { SitePlan($0, sites: sites) }
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
      var status, plan, symbols: String?
      var skippedReasons: [SkippedReason]?
    }
    struct Unload: Decodable {
      var generation: Int
      var time: Int64
    }
    var load: Load?
    var unload: Unload?
  }
}
