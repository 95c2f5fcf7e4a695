// SPDX-License-Identifier: Apache-2.0

public import Units

/// A line of `PID-N.modules`: a module was loaded or unloaded.
public enum ModuleLine: Sendable, Equatable {
  case load(ModuleLoad)
  case unload(ModuleUnload)
  /// Neither: of a later version. To be passed over.
  case other
}

/// A module that was loaded, what became of its call sites, and how its functions are numbered.
///
/// The recorder writes one line for a module, when the agent has applied its plan.
public struct ModuleLoad: Sendable, Equatable {
  /// Counts the loads of the process, from 1.
  public var generation: Int
  /// Not safe for a terminal as it is.
  public var path: String
  /// Lower-case hexadecimal; nil where the file has none.
  public var buildID: String?
  /// Run-time minus link-time address.
  public var loadBias = LoadBias.zero
  /// Where its text is mapped.
  public var textStart = CodeAddress.zero
  /// Where its text ends.
  public var textEnd = CodeAddress.zero
  /// In units of the recording's clock.
  public var time = ClockUnits.zero
  /// The number of its call site 0.
  public var firstFunction: UInt64 = 0
  /// Number of call sites.
  public var sites = 0
  /// Call sites that call their stubs.
  public var armed = 0
  /// Call sites that no rule selects.
  public var unwanted = 0
  /// Places that looked like call sites and are none; and why.
  public var skipped = 0
  /// How many places were skipped for which reason.
  public var skippedReasons: [SkippedReason] = []
  /// `ok`, or why nothing was armed.
  public var status = ""
  /// `status` is the report of an anomaly, which turned the tracer of its process off.
  public var isAnomaly = false
  /// The text of a `SitePlan`; nil in a recording of before it was kept.
  public var plan: String?
  /// The name of its file in symbols/, where that is not the usual one.
  public var symbols: String?

  /// What `status` says where nothing went wrong.
  public static let statusWhenDone = "ok"

  /// A module without call sites.
  public init(generation: Int, path: String) {
    self.generation = generation
    self.path = path
  }
}

/// A module that was unloaded.
public struct ModuleUnload: Sendable, Equatable {
  /// Which load it ends: counts the loads of the process, from 1.
  public var generation: Int
  /// In units of the recording's clock.
  public var time: ClockUnits

  /// The load `generation` ended at `time`.
  public init(generation: Int, time: ClockUnits) {
    self.generation = generation
    self.time = time
  }
}

/// Places that looked like call sites and are none, for one reason.
public struct SkippedReason: Sendable, Equatable, Codable {
  /// One line; not safe for a terminal as it is.
  public var reason: String
  /// Number of places.
  public var count: Int

  /// So many places for one reason.
  public init(reason: String, count: Int) {
    self.reason = reason
    self.count = count
  }
}

// MARK: - Text

extension ModuleLine: Codable {
  private enum CodingKeys: CodingKey { case load, unload }

  /// Throws where the line is neither and has what one of them cannot have.
  public init(from decoder: any Decoder) throws {
    let fields = try decoder.container(keyedBy: CodingKeys.self)
    if let load = try fields.decodeIfPresent(ModuleLoad.self, forKey: .load) {
      self = .load(load)
    } else if let unload = try fields.decodeIfPresent(ModuleUnload.self, forKey: .unload) {
      self = .unload(unload)
    } else {
      self = .other
    }
  }

  /// An object with one key, `load` or `unload`; `other` has none.
  public func encode(to encoder: any Encoder) throws {
    var fields = encoder.container(keyedBy: CodingKeys.self)
    switch self {
    case .load(let load): try fields.encode(load, forKey: .load)
    case .unload(let unload): try fields.encode(unload, forKey: .unload)
    case .other: break
    }
  }
}

extension ModuleLoad: Codable {
  private enum CodingKeys: String, CodingKey {
    case generation, path, buildID, loadBias, textStart, textEnd, time, firstFunction
    case sites, armed, unwanted, skipped, skippedReasons, status, plan, symbols
    case isAnomaly = "anomaly"
  }

  /// Throws where the generation or the path is missing, or a field is of another type.
  public init(from decoder: any Decoder) throws {
    let fields = try decoder.container(keyedBy: CodingKeys.self)
    func count(_ key: CodingKeys) throws -> Int { Int(clamping: try fields.unsigned(key)) }
    generation = try fields.decode(Int.self, forKey: .generation)
    path = try fields.decode(String.self, forKey: .path)
    buildID = try fields.decodeIfPresent(String.self, forKey: .buildID)
    loadBias = LoadBias(try fields.address(.loadBias))
    textStart = CodeAddress(try fields.address(.textStart))
    textEnd = CodeAddress(try fields.address(.textEnd))
    time = ClockUnits(try fields.unsigned(.time))
    firstFunction = try fields.unsigned(.firstFunction)
    sites = try count(.sites)
    armed = try count(.armed)
    unwanted = try count(.unwanted)
    skipped = try count(.skipped)
    skippedReasons =
      try fields.decodeIfPresent([SkippedReason].self, forKey: .skippedReasons) ?? []
    status = try fields.decodeIfPresent(String.self, forKey: .status) ?? ""
    isAnomaly = try fields.decodeIfPresent(Bool.self, forKey: .isAnomaly) ?? false
    plan = try fields.decodeIfPresent(String.self, forKey: .plan)
    symbols = try fields.decodeIfPresent(String.self, forKey: .symbols)
  }

  /// All fields; the build-id is null where the file has none.
  public func encode(to encoder: any Encoder) throws {
    var fields = encoder.container(keyedBy: CodingKeys.self)
    try fields.encode(generation, forKey: .generation)
    try fields.encode(path, forKey: .path)
    try fields.encode(buildID, forKey: .buildID)  // null: the file has none
    try fields.encode(loadBias, forKey: .loadBias)
    try fields.encode(textStart, forKey: .textStart)
    try fields.encode(textEnd, forKey: .textEnd)
    try fields.encode(time, forKey: .time)
    try fields.encode(firstFunction, forKey: .firstFunction)
    try fields.encode(sites, forKey: .sites)
    try fields.encode(armed, forKey: .armed)
    try fields.encode(unwanted, forKey: .unwanted)
    try fields.encode(skipped, forKey: .skipped)
    try fields.encode(skippedReasons, forKey: .skippedReasons)
    try fields.encode(status, forKey: .status)
    if isAnomaly { try fields.encode(true, forKey: .isAnomaly) }
    try fields.encodeIfKnown(plan, forKey: .plan)
    try fields.encodeIfKnown(symbols, forKey: .symbols)
  }
}

extension ModuleUnload: Codable {
  private enum CodingKeys: CodingKey { case generation, time }

  /// Throws where a field is missing or of another type.
  public init(from decoder: any Decoder) throws {
    let fields = try decoder.container(keyedBy: CodingKeys.self)
    generation = try fields.decode(Int.self, forKey: .generation)
    guard fields.contains(.time) else {
      throw DecodingError.keyNotFound(
        CodingKeys.time, .init(codingPath: decoder.codingPath, debugDescription: "no time"))
    }
    time = ClockUnits(try fields.unsigned(.time))
  }
}
