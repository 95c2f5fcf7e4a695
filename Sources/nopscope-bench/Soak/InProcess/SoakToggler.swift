// SPDX-License-Identifier: Apache-2.0

import CSoak
import Glibc
import LivePatching
import Synchronization

/// Toggles sites as fast as it can, whether their module is about to be unloaded or not.
final class SoakToggler {
  private let slots: [SoakSlot]
  private var generator: SoakGenerator
  private let tally: SoakTally
  private var turns = 0

  init(slots: [SoakSlot], seed: UInt64, tally: SoakTally) {
    self.slots = slots
    generator = SoakGenerator(seed: seed, stream: 1)
    self.tally = tally
  }

  func turn() throws {
    turns += 1
    let slot = slots[generator.below(slots.count)]
    if slot.isWanted.load(ordering: .relaxed) { return }
    try slot.withLock {
      guard let generation = slot.generation else { return }
      for _ in 0..<8 where !slot.isWanted.load(ordering: .relaxed) {
        try toggle(generation, slot)
      }
      if generator.isOne(in: 32) { try pin(generation, slot) }
    }
  }

  private func toggle(_ generation: SoakGeneration, _ slot: SoakSlot) throws {
    let functions = generation.toggled.filter { _ in generator.isOne(in: 2) }
    if generator.isOne(in: 3) {
      for function in functions {
        try set([function], .call(generation.stubs[function]), generation, slot)
      }
    } else {
      try set(functions, generator.isOne(in: 2) ? .nop : .original, generation, slot)
    }
  }

  /// All sites are armed, and while they stay so every call must be counted.
  private func pin(_ generation: SoakGeneration, _ slot: SoakSlot) throws {
    var isArmed = true
    for function in generation.toggled {
      isArmed = try set([function], .call(generation.stubs[function]), generation, slot) && isArmed
    }
    guard isArmed else { return }
    csk_close(slot.slot)
    let base = generation.counts(slot.slot)
    csk_open(slot.slot)
    usleep(UInt32(generator.below(2000)))
    csk_close(slot.slot)
    defer { csk_open(slot.slot) }
    let now = generation.counts(slot.slot)
    // Once it is being unloaded its destructor calls its functions too.
    if slot.isClosing.load(ordering: .sequentiallyConsistent) { return }
    try generation.check(now: now, armedSince: base)
    tally.add("periods in which every site of a library stayed armed")
  }

  private func options(_ generation: SoakGeneration, _ sites: [Int]) -> PatchOptions {
    var options = PatchOptions()
    options.writer = generator.isOne(in: 3) ? .processMemory : .mprotect
    switch generator.below(16) {
    case 0: options.method = .stopMachine
    case 1...4: options.method = .breakpoint
    case 5...8: options.method = .jumpGuard
    default: return options
    }
    let served = generation.patched.sites(servedBy: options.method)
    if !Set(sites).isSubset(of: served) { options.method = .automatic }
    return options
  }

  /// False where the patcher refused.
  @discardableResult
  private func set(
    _ functions: [Int], _ state: SiteState, _ generation: SoakGeneration, _ slot: SoakSlot
  ) throws -> Bool {
    let sites = functions.map { generation.sites[$0] }.sorted()
    do throws(PatchError) {
      let report = try generation.patched.set(
        sites, to: state, options: options(generation, sites))
      tally.add("site flips", report.sites)
      tally.add("transactions by \(report.method)")
      return true
    } catch {
      switch error.reason {
      case .moduleGone where slot.isClosing.load(ordering: .sequentiallyConsistent):
        tally.add("transactions refused because the module had gone")
      case .threadInside: tally.add("transactions refused because of a vfork child")
      case .notStopped: tally.add("transactions refused because a thread did not stop")
      case .unsuitable: tally.add("transactions refused because of a blocked SIGTRAP")
      default: throw error
      }
      return false
    }
  }
}
