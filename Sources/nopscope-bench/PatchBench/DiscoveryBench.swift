// SPDX-License-Identifier: Apache-2.0

import CMachineCode
import CallSites
import ELFImage
import Units

/// Times the two halves of discovery apart.
struct DiscoveryBench {
  private let subject: Subject
  private let rounds: Int
  private let targets: McountTargets
  private let functions: FunctionExtents

  init(_ subject: Subject, rounds: Int) throws {
    self.subject = subject
    self.rounds = rounds
    targets = try McountTargets(subject.table.image)
    functions = try FunctionExtents(subject.table.image)
  }

  /// Nothing for a library with patchable entries alone: its sites are listed, not scanned for.
  func run() -> [BenchResult] {
    let image = subject.table.image
    var (scans, confirmations, decodings): ([Elapsed], [Elapsed], [Elapsed]) = ([], [], [])
    var candidates: [Candidate] = []
    var sites: [CallSite] = []
    for _ in 0..<rounds {
      scans.append(Elapsed.measure { candidates = CallSiteScanner(image, targets).scan() })
      var confirmer = CallSiteConfirmer(image, targets, functions, subject.decoder)
      confirmations.append(Elapsed.measure { confirmer.confirm(candidates) })
      sites = confirmer.sites
      decodings.append(Elapsed.measure { decode(sites) })
    }
    if sites.isEmpty { return [] }
    return [scan(scans, sites.count), confirm(confirmations, decodings, sites.count)]
  }

  private func scan(_ times: [Elapsed], _ sites: Int) -> BenchResult {
    var result = BenchResult(.scan, sites: sites, times)
    let bytes = subject.table.image.executableSegments.reduce(0) { $0 + $1.fileRange.count }
    let speed = Double(bytes) * 1000 / median(times.map(\.wall))
    result.megabytesPerSecond = speed
    result.goals = [.atLeast(PatchBench.Limits.scanMegabytesPerSecond, .megabytesPerSecond, speed)]
    return result
  }

  private func confirm(_ times: [Elapsed], _ decodings: [Elapsed], _ sites: Int) -> BenchResult {
    var result = BenchResult(.confirm, sites: sites, times)
    let ratio = medianRatio(times, decodings)
    result.decodingNanosecondsPerSite = median(decodings.map(\.wall)) / Double(sites)
    result.ratio = ratio
    result.goals = [.atMost(PatchBench.Limits.timesDecodingConfirm, .timesDecoding, ratio)]
    return result
  }

  /// What Capstone itself needs for confirming: each function from its start to its site, and
  /// nothing looked at.
  private func decode(_ sites: [CallSite]) {
    let image = subject.table.image
    image.bytes.storage.withUnsafeBufferPointer { file in
      guard let bytes = file.baseAddress else { return }
      var instruction = nmc_instruction()
      var at = ModuleOffset.zero
      for site in sites {
        let end = site.offset + UInt64(site.length)
        at = max(at, site.functionStart)
        guard let start = image.fileOffset(ofAddress: at, size: end - at) else { continue }
        let first = at
        while at < end {
          let offset = start + Int(at - first)
          let isDecoded = nmc_decode(
            subject.decoder.handle, bytes + offset, min(15, file.count - offset), at.rawValue,
            &instruction)
          precondition(isDecoded, "what was confirmed decodes")
          at += UInt64(instruction.length)
        }
      }
    }
  }
}
