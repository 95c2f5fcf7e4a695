// SPDX-License-Identifier: Apache-2.0

/// One line of the measurement: medians over the rounds.
public struct BenchResult: Encodable, Sendable {
  /// What was measured.
  public enum Name: String, Encodable, Sendable, CaseIterable {
    /// Capstone's decoding of the sites' bytes and nothing else.
    case capstoneOnly = "capstone-only"
    /// The first transaction after loading: each page of text is copied.
    case patchFirst = "patch-first"
    /// A later one on the same load.
    case patchRepeat = "patch-repeat"
    /// Looking for the bytes of calls in the whole text.
    case scan
    /// Capstone from each function's start to its site.
    case confirm
  }

  /// What was measured.
  public var name: Name
  /// Sites in one round.
  public var sites: Int
  /// Wall-clock time.
  public var nanosecondsPerSite: Double
  /// What the measuring thread got of a CPU.
  public var cpuNanosecondsPerSite: Double
  /// Threads that executed the patched functions meanwhile.
  public var threads: Int
  /// What the sites held: `call` (as the file has them) or `nop`. For decoding: what was decoded.
  public var from: String?
  /// What the sites held afterwards.
  public var to: String?
  /// The protocol that the transaction used.
  public var method: String?
  /// To decoding the same bytes and nothing else, in the same run under the same threads.
  public var ratio: Double?
  /// To decoding them with no other thread.
  public var ratioToUndisturbed: Double?
  /// Calls that the threads made meanwhile, and those that returned something wrong.
  public var calls: UInt64?
  /// Calls of the threads that returned something wrong.
  public var wrongResults: UInt64?
  /// Of text, for `scan`: 10^6 bytes.
  public var megabytesPerSecond: Double?
  /// Of the same instructions alone, for `confirm`.
  public var decodingNanosecondsPerSite: Double?
  /// What is aimed at here.
  public var goals: [Goal] = []

  init(_ name: Name, sites: Int, _ times: [Elapsed], threads: Int = 0) {
    self.name = name
    self.sites = sites
    self.threads = threads
    nanosecondsPerSite = median(times.map(\.wall)) / Double(sites)
    cpuNanosecondsPerSite = median(times.map(\.cpu)) / Double(sites)
  }
}

/// What is aimed at, and whether this run got there.
public struct Goal: Encodable, Sendable {
  /// What a goal limits.
  public enum Measure: String, Encodable, Sendable {
    /// Times Capstone's decoding alone.
    case timesDecoding
    case nanosecondsPerSite
    case megabytesPerSecond
  }

  /// What is limited.
  public var measure: Measure
  /// The largest value, or of a rate the smallest.
  public var limit: Double
  /// Whether this run got there.
  public var isMet: Bool

  static func atMost(_ limit: Double, _ measure: Measure, _ value: Double) -> Goal {
    Goal(measure: measure, limit: limit, isMet: value <= limit)
  }

  static func atLeast(_ limit: Double, _ measure: Measure, _ value: Double) -> Goal {
    Goal(measure: measure, limit: limit, isMet: value >= limit)
  }
}

/// The whole measurement, as the schema `nopscope.bench/1` has it.
public struct BenchReport: Encodable, Sendable {
  /// What was patched: compiler and form.
  public var library: String
  /// Of which the results are medians.
  public var rounds: Int
  /// In the library.
  public var sites: Int
  /// On which they are.
  public var pages: Int
  /// Of the library's text.
  public var textBytesPerSite: Double
  /// Kept as long as the module is: its call site and its state.
  public var tableBytesPerSite: Int
  /// More while a transaction runs: its poke.
  public var transactionBytesPerSite: Int
  /// The lines.
  public var results: [BenchResult] = []
  /// This machine's kernel; nil where it does not say.
  public var kernel: KernelFigure?
  /// Why, or where the figure is from.
  public var kernelNote: String

  private enum Key: String, CodingKey {
    case library, rounds, sites, pages, textBytesPerSite, tableBytesPerSite
    case transactionBytesPerSite, results, kernelNanosecondsPerSite, kernelNote
  }

  /// The document: null where something is not known.
  public func encode(to encoder: any Encoder) throws {
    var fields = encoder.container(keyedBy: Key.self)
    try fields.encode(library, forKey: .library)
    try fields.encode(rounds, forKey: .rounds)
    try fields.encode(sites, forKey: .sites)
    try fields.encode(pages, forKey: .pages)
    try fields.encode(textBytesPerSite, forKey: .textBytesPerSite)
    try fields.encode(tableBytesPerSite, forKey: .tableBytesPerSite)
    try fields.encode(transactionBytesPerSite, forKey: .transactionBytesPerSite)
    try fields.encode(results, forKey: .results)
    // Null where it is not known, never absent.
    try fields.encode(kernel?.nanosecondsPerSite, forKey: .kernelNanosecondsPerSite)
    try fields.encode(kernelNote, forKey: .kernelNote)
  }
}
