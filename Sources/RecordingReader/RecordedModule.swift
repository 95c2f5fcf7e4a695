// SPDX-License-Identifier: Apache-2.0

import RecordingSchema
public import Units

/// One loaded instance of an ELF file, as `PID-N.modules` has it.
public struct RecordedModule: Sendable, Equatable {
  /// Of the process, from 1.
  public var generation: Int
  /// As the loader has it.
  public var path: String
  /// Lower-case hexadecimal; nil where the file has none.
  public var buildID: String?
  /// Run-time minus link-time address.
  public var loadBias: LoadBias
  /// Where its text is mapped.
  public var textStart: CodeAddress
  /// Where its text ends.
  public var textEnd: CodeAddress
  /// When it was loaded.
  public var loadTime: ClockUnits
  /// Nil: it was loaded to the end.
  public var unloadTime: ClockUnits?
  /// The number of its call site 0.
  public var firstFunction: UInt64
  /// Number of call sites.
  public var sites: Int
  /// Those that called their stubs.
  public var armed: Int
  /// Places that looked like call sites and are none; and why, as far as that is kept.
  public var skipped: Int
  /// How many places were skipped for which reason.
  public var skippedReasons: [SkippedReason] = []
  /// `ok`, or why none of its sites was armed.
  ///
  /// Not safe for a terminal as it is.
  public var status: String
  /// `status` is the report of an anomaly, which turned the tracer of its process off.
  public var isAnomaly = false
  /// What was planned for each site; nil where the recording does not keep it.
  public var plan: SitePlan?
  /// The name of its file in symbols/, where it is not named after its build-id or its path.
  public var symbols: String?
}

extension RecordedModule {
  /// Longest line that is looked at, in bytes: a plan has at most one for each site.
  private static let longestLine = 16 << 20
  /// Longest path, in bytes: the agent sends 4000 at most, and what is no UTF-8 becomes three each.
  ///
  /// Functions without a symbol are named after it, and every one of them has its name in memory.
  private static let longestPath = 16000
  /// Sums with it do not overflow.
  private static let mostNumber = UInt64(Int64.max)
  private static let latestTime = ClockUnits(mostNumber)
  private static let mostSites = 1 << 32
  private static let mostReasons = 64

  /// Reads JSON lines, load and unload; calls `problem` for each wrong line, keeps the others.
  static func parse(_ bytes: [UInt8], name: String, problem: (String) -> Void) -> [RecordedModule] {
    var modules: [RecordedModule] = []
    var byGeneration: [Int: Int] = [:]
    let lines = JSONLines(
      bytes: bytes, name: name, kind: "a module's", longestLine: longestLine)
    lines.forEach(ModuleLine.self, where: isPathShort, problem: problem) { line, place in
      switch line {
      case .load(let load):
        byGeneration[load.generation] = modules.count
        let module = RecordedModule(load)
        modules.append(module)
        if let plan = load.plan, module.plan == nil {
          problem(
            "\(place): expected a plan of \(module.sites) sites such as 12a3u, found "
              + "\(plan.prefix(20))\(plan.count > 20 ? "…" : ""): not used")
        }
      case .unload(let unload):
        if let index = byGeneration[unload.generation] {
          modules[index].unloadTime = min(unload.time, latestTime)
        } else {
          problem("\(place): unload of generation \(unload.generation), never loaded")
        }
      case .other: break
      }
    }
    return modules
  }

  private static func isPathShort(_ line: ModuleLine) -> Bool {
    if case .load(let load) = line { load.path.utf8.count <= longestPath } else { true }
  }

  private init(_ load: ModuleLoad) {
    let hexadecimal = load.buildID?.lowercased()
    let isValid = hexadecimal.map { !$0.isEmpty && $0.count <= 128 && $0.allSatisfy(\.isHexDigit) }
    self.init(
      generation: load.generation, path: load.path,
      // It becomes a file's name: nothing but digits may get there.
      buildID: isValid == true ? hexadecimal : nil, loadBias: load.loadBias,
      textStart: load.textStart, textEnd: load.textEnd, loadTime: min(load.time, Self.latestTime),
      unloadTime: nil, firstFunction: min(load.firstFunction, Self.mostNumber),
      sites: min(load.sites, Self.mostSites),
      armed: load.armed, skipped: load.skipped,
      skippedReasons: Array(load.skippedReasons.filter { $0.count > 0 }.prefix(Self.mostReasons)),
      status: load.status, symbols: load.symbols.flatMap { Self.isFileName($0) ? $0 : nil })
    isAnomaly = load.isAnomaly
    plan = load.plan.flatMap { SitePlan($0, sites: sites) }
  }

  /// No more than what it is made of: hexadecimal digits, or `path-`, and a hash.
  private static func isFileName(_ name: String) -> Bool {
    let letters = Set("0123456789abcdef-path")
    return !name.isEmpty && name.utf8.count <= 160 && name.allSatisfy { letters.contains($0) }
  }
}
