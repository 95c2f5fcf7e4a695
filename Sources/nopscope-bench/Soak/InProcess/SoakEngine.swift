// SPDX-License-Identifier: Apache-2.0

import CSoak
import CallSites
import Glibc
import LivePatching
import MachineCode

/// The 2.6.28 engine on libraries of its own: converted before their constructors, armed and
/// disarmed, ended with their module.
final class SoakEngine {
  private let slot: OpaquePointer
  private let libraries: SoakLibraries
  private let indices: Range<Int>
  private var generator: SoakGenerator
  private let tally: SoakTally
  private let engine: StaticEngine
  private var tables: [Int: SiteTable] = [:]

  init(
    slot: OpaquePointer, libraries: SoakLibraries, indices: Range<Int>, seed: UInt64,
    tally: SoakTally
  ) throws {
    self.slot = slot
    self.libraries = libraries
    self.indices = indices
    self.tally = tally
    generator = SoakGenerator(seed: seed, stream: 7)
    let decoder = try Decoder()
    engine = try StaticEngine(decoder: decoder)
    for index in indices {
      let table = try SiteTable.discover(path: libraries.path(index), decoder: decoder)
      tables[index] = table
      try engine.adopt(table)
    }
  }

  func turn() throws {
    let index = indices.lowerBound + generator.below(indices.count)
    guard let table = tables[index] else { return }
    let library = try engine.load(table.path)
    guard let module = engine.module(of: table),
      table.sites.indices.allSatisfy({ module.state(of: $0) == .nop })
    else {
      throw SoakDeviation(description: "\(table.path): not converted before its constructors")
    }
    let functions = try (0..<SoakLibraries.functionCount).map {
      try library.symbol("f\($0)")
    }
    csk_fill(slot, functions, libraries.number(index))
    // One entry for all functions: the first's.
    try engine.startTracer(csk_entry(slot, 0))
    let before = (csk_entries(slot, 0), calls)
    csk_open(slot)
    usleep(UInt32(generator.below(2000)))
    csk_close(slot)
    let (entries, made) = (csk_entries(slot, 0) &- before.0, calls &- before.1)
    guard entries == made else {
      throw SoakDeviation(
        description: "\(table.path), armed by the engine: \(made) calls, \(entries) counted")
    }
    if generator.isOne(in: 2) { tally.add("site flips", try engine.stopTracer()) }
    library.close()
    tally.add("loads under the static engine")
  }

  private var calls: UInt64 {
    (0..<SoakLibraries.functionCount).reduce(0) { $0 &+ csk_calls(slot, $1) }
  }

  func end() throws { try engine.detach() }
}
