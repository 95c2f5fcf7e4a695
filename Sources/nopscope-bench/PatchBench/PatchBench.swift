// SPDX-License-Identifier: Apache-2.0

import CPatchCore
import CUnloadLab
import CallSites
import Glibc
import LivePatching

/// Measures discovery and patching of one library, everything in one run: a ratio compares times
/// that were taken in turn, on the same machine and within minutes.
public struct PatchBench {
  /// What the project aims at.
  public enum Limits {
    /// Patching, in times of decoding alone.
    public static let timesDecodingPatch = 1.6
    /// Confirming, in times of decoding alone.
    public static let timesDecodingConfirm = 1.2
    /// Scanning text, 10^6 bytes a second.
    public static let scanMegabytesPerSecond = 200.0
    /// A kernel's own figure at boot on the machine this was first measured on, for where the
    /// running kernel's cannot be read.
    public static let kernelNanosecondsPerSite = 458.0
  }

  private let subject: Subject
  private let rounds: Int
  private let threadCounts: [Int]
  private let say: (String) -> Void

  /// `workload`: an exported `long f(void)` of the library for the threads to call. A library of
  /// somebody else's without one is measured with no other thread.
  public init(
    library: String, isGenerated: Bool, workload: String?, rounds: Int,
    say: @escaping (String) -> Void
  ) throws {
    subject = try Subject(path: library, workload: workload)
    self.rounds = rounds
    self.say = say
    threadCounts = isGenerated || workload != nil ? [0, 2] : [0]
  }

  /// Measures everything. Throws where something it needs is missing.
  public func run() throws -> BenchReport {
    let kernel = KernelFigure.read()
    let extent = subject.extent
    var report = BenchReport(
      library: subject.table.path, rounds: rounds, sites: subject.table.sites.count,
      pages: extent.pages, textBytesPerSite: extent.bytesPerSite,
      tableBytesPerSite: MemoryLayout<CallSite>.stride + PatchedModule.stateBytesPerSite,
      transactionBytesPerSite: MemoryLayout<npc_poke>.stride,
      kernel: kernel.figure, kernelNote: kernel.note)
    try LoaderHook.install(decoder: subject.decoder)
    var samples: [Int: PatchSamples] = [:]
    for round in 1...rounds {
      for threads in threadCounts {
        say("round \(round) of \(rounds): patching with \(threads) other threads")
        try patch(threads, &samples[threads, default: PatchSamples()])
      }
    }
    report.results = results(samples, kernel.figure)
    say("scanning and confirming")
    report.results += try DiscoveryBench(subject, rounds: rounds).run()
    return report
  }

  // MARK: - Patching

  /// One fresh load: original -> nop -> original -> nop.
  private func patch(_ threads: Int, _ samples: inout PatchSamples) throws {
    let (library, patched) = try subject.load()
    defer { library.close() }
    let workers = try Workers(threads == 0 ? [] : try subject.calls(in: library), threads)
    samples.first.append(try time(patched, .nop))
    samples.originals.append(decode(subject.originals, patched))
    samples.toOriginal.append(try time(patched, .original))
    samples.nops.append(decode(subject.nops, patched))
    var report: PatchReport?
    samples.toNop.append(try Elapsed.measure { report = try patched.set(to: .nop) })
    samples.method = report?.method ?? .automatic
    samples.sites = report?.sites ?? 0
    try patched.set(to: .original)
    samples.add(workers.stop())
  }

  private func time(_ patched: PatchedModule, _ state: SiteState) throws -> Elapsed {
    try Elapsed.measure { try patched.set(to: state) }
  }

  private func decode(_ codes: SiteCodes, _ patched: PatchedModule) -> Elapsed {
    Elapsed.measure { _ = codes.decodeAll(subject.decoder, loadBias: patched.module.loadBias) }
  }

  private func results(
    _ samples: [Int: PatchSamples], _ kernel: KernelFigure?
  ) -> [BenchResult] {
    guard let alone = samples[0] else { return [] }
    let limit = kernel?.nanosecondsPerSite ?? Limits.kernelNanosecondsPerSite
    return threadCounts.compactMap { threads in samples[threads].map { (threads, $0) } }
      .flatMap { threads, own in own.results(threads, comparedWith: alone, kernel: limit) }
  }
}

/// The times of all rounds with one number of threads.
struct PatchSamples {
  var originals: [Elapsed] = []
  var nops: [Elapsed] = []
  var first: [Elapsed] = []
  var toOriginal: [Elapsed] = []
  var toNop: [Elapsed] = []
  var calls: UInt64 = 0
  var wrong: UInt64 = 0
  var sites = 0
  var method = PatchProtocol.automatic

  mutating func add(_ counts: (calls: UInt64, wrong: UInt64)) {
    calls += counts.calls
    wrong += counts.wrong
  }

  func results(
    _ threads: Int, comparedWith alone: PatchSamples, kernel: Double
  ) -> [BenchResult] {
    var results: [BenchResult] = []
    for (times, what) in [(originals, "call"), (nops, "nop")] {
      var result = BenchResult(.capstoneOnly, sites: sites, times, threads: threads)
      result.from = what
      results.append(result)
    }
    let transactions: [(BenchResult.Name, [Elapsed], String, String)] = [
      (.patchFirst, first, "call", "nop"), (.patchRepeat, toNop, "call", "nop"),
      (.patchRepeat, toOriginal, "nop", "call"),
    ]
    for (name, times, from, to) in transactions {
      var result = BenchResult(name, sites: sites, times, threads: threads)
      result.from = from
      result.to = to
      result.method = "\(method)"
      let ratio = medianRatio(times, from == "call" ? originals : nops)
      result.ratio = ratio
      result.ratioToUndisturbed =
        medianRatio(times, from == "call" ? alone.originals : alone.nops)
      if threads > 0 { (result.calls, result.wrongResults) = (calls, wrong) }
      result.goals = [
        .atMost(PatchBench.Limits.timesDecodingPatch, .timesDecoding, ratio),
        .atMost(kernel, .nanosecondsPerSite, result.nanosecondsPerSite),
      ]
      results.append(result)
    }
    return results
  }
}

/// Threads that call functions with known results until they are stopped.
final class Workers {
  private var handle: OpaquePointer?

  init(_ calls: [nul_call], _ threads: Int) throws {
    guard threads > 0 else { return }
    handle = nul_workers_start(calls, calls.count, Int32(threads))
    guard handle != nil else { throw BenchError("the threads cannot be started") }
    // Until each runs: it has been through all calls once.
    var count: UInt64 = 0
    while count < UInt64(calls.count * threads) {
      usleep(1000)
      nul_workers_count(handle, &count, nil)
    }
  }

  func stop() -> (calls: UInt64, wrong: UInt64) {
    guard let running = handle else { return (0, 0) }
    handle = nil
    var counts: (calls: UInt64, wrong: UInt64) = (0, 0)
    nul_workers_stop(running, &counts.calls, &counts.wrong)
    return counts
  }

  deinit { _ = stop() }
}
