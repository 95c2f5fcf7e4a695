// SPDX-License-Identifier: Apache-2.0

import CSoak
import CallSites
import Glibc
import LivePatching
import MachineCode
import Synchronization
import Units

/// One library while it is loaded, and what is done to its sites.
final class SoakGeneration {
  let table: SiteTable
  let module: LoadedModule
  let patched: PatchedModule
  let stubs: [EntryStub]
  /// Sites by function: f0, f1, ...
  let sites: [Int]
  /// Armed all the time; never armed; toggled. Indices of functions.
  private(set) var armed: [Int] = []
  private(set) var silent: [Int] = []
  private(set) var toggled: [Int] = []
  private var base = Counts()

  struct Counts {
    var entries: [UInt64] = []
    var calls: [UInt64] = []
  }

  init(
    table: SiteTable, module: LoadedModule, decoder: Decoder, stubs: [EntryStub],
    generator: inout SoakGenerator
  ) throws {
    self.table = table
    self.module = module
    self.stubs = stubs
    patched = try PatchedModule(module: module, table: table, decoder: decoder)
    sites = try (0..<SoakLibraries.functionCount).map { function in
      let site = table.sites.firstIndex { table.functionName(of: $0) == "f\(function)" }
      guard let site else {
        throw SoakDeviation(description: "\(table.path): no call site in f\(function)")
      }
      return site
    }
    let shuffled = sites.indices.shuffled(using: &generator)
    (armed, silent) = (shuffled[..<5].sorted(), shuffled[5..<8].sorted())
    toggled = shuffled[8...].sorted()
  }

  /// While the gate is closed: from here on calls are counted.
  func begin(_ slot: OpaquePointer) { base = counts(slot) }

  /// While the gate is closed.
  func counts(_ slot: OpaquePointer) -> Counts {
    Counts(
      entries: sites.indices.map { csk_entries(slot, $0) },
      calls: sites.indices.map { csk_calls(slot, $0) })
  }

  /// While the gate is closed: every function was counted as often as it was called since `begin`.
  /// Those that are toggled as often at most; with `armedSince`, exactly as often since then.
  func check(now: Counts, armedSince: Counts? = nil) throws(SoakDeviation) {
    let base = armedSince ?? base
    for function in sites.indices {
      let entries = now.entries[function] &- base.entries[function]
      let calls = now.calls[function] &- base.calls[function]
      let isArmed = armed.contains(function) || armedSince != nil && toggled.contains(function)
      let isRight =
        isArmed ? entries == calls : silent.contains(function) ? entries == 0 : entries <= calls
      if isRight { continue }
      let state =
        isArmed ? "armed all the time" : silent.contains(function) ? "never armed" : "toggled"
      throw SoakDeviation(
        description: "\(module.name) at \(module.loadBias): f\(function), \(state), "
          + "was called \(calls) times and counted \(entries) times")
    }
  }
}

/// A slot as the threads share it.
final class SoakSlot {
  let slot: OpaquePointer
  private var mutex = pthread_mutex_t()
  /// Under `lock`.
  var generation: SoakGeneration?
  /// Set before dlclose: from then on the module may be gone.
  let isClosing = Atomic(true)
  /// The toggler is to let the lock go.
  let isWanted = Atomic(false)
  private var stubs: [EntryStub] = []

  init(_ slot: OpaquePointer) {
    self.slot = slot
    pthread_mutex_init(&mutex, nil)
  }

  func withLock<Result>(_ body: () throws -> Result) rethrows -> Result {
    pthread_mutex_lock(&mutex)
    defer { pthread_mutex_unlock(&mutex) }
    return try body()
  }

  /// Of the counting entries; made anew where the old page is out of reach.
  func stubs(for module: LoadedModule, _ tally: SoakTally) throws -> [EntryStub] {
    let span = module.span
    let isNear = stubs.allSatisfy { stub in
      max(stub.address, span.upperBound) - min(stub.address, span.lowerBound) < 0x7fff_0000
    }
    if stubs.isEmpty || !isNear {
      let entries = (0..<SoakLibraries.functionCount).map { csk_entry(slot, $0) }
      stubs = try EntryStubPage(near: span, destinations: entries).stubs
      tally.add("pages of entry stubs")
    }
    return stubs
  }
}
