// SPDX-License-Identifier: Apache-2.0

import CPatchCore
import CUnloadLab
import Foundation
import Testing
import Units

@testable import UnloadLab

extension DaemonTests {
  @Suite struct Unload {
    /// Where a record stands when its module goes.
    enum Moment: String, CaseIterable, Sendable {
      case pending, converted, enabled
    }

    /// Records fixture_touch, brings its record to `moment`, unloads; returns the site's address.
    func leaveBehind(_ engine: DaemonEngine, _ moment: Moment) throws -> UInt64 {
      let library = try LoadedLibrary()
      defer { library.close() }
      try engine.register(library.text())
      try library.touch()
      if moment != .pending { try engine.waitForCycle(now: true) }
      if moment == .enabled { try engine.startTracer() }
      return try library.site("fixture_touch")
    }

    /// What next has the engine write at a site whose record is in that state.
    func writeNext(_ engine: DaemonEngine, _ moment: Moment) throws {
      switch moment {
      case .pending: try engine.waitForCycle(now: true)
      case .converted: try engine.startTracer()
      case .enabled: try engine.stopTracer()
      }
    }

    @Test(
      "without the zap a stale record outlives its module, and its next write is tried: a fault",
      arguments: [DaemonEngine.Version.shipped, .verified], Moment.allCases)
    func stale(version: DaemonEngine.Version, moment: Moment) throws {
      try withEngine(version) { engine in
        let ip = try leaveBehind(engine, moment)
        #expect(engine.record(at: ip) != nil)
        let before = engine.statistics
        try writeNext(engine, moment)
        let after = engine.statistics
        #expect(after.faulted == before.faulted + 1)
        #expect(engine.lastPatch(at: ip)?.result == .faulted)
        // Verified, the fault is the read's; either way the record is failed, freed, forgotten.
        #expect(engine.lastPatch(at: ip)?.wasExecuted == (version == .shipped))
        #expect(engine.record(at: ip) == nil && after.freeRecords == 1)
      }
    }

    @Test("the zap takes the records along with the module", arguments: Moment.allCases)
    func zapped(moment: Moment) throws {
      try withEngine(.zapped) { engine in
        let ip = try leaveBehind(engine, moment)
        #expect(engine.record(at: ip) == nil)
        #expect(engine.statistics.records == 0 && engine.statistics.released == 1)
        #expect(engine.statistics.freeRecords == 1)
        let patches = engine.patches().count
        try writeNext(engine, moment)
        #expect(engine.patches().count == patches)
        // Its text is forgotten too.
        nul_record_ip(ip)
        #expect(engine.skippedSites.map(\.rawValue) == [ip])
      }
    }

    @Test("the zap leaves the records of a module that stays")
    func zapIsPrecise() throws {
      let field = CallField(siteCount: 4)
      try withEngine(.zapped) { engine in
        // Memory that no module lists would count as vanished: only the fixture is registered.
        _ = field
        try withLibrary { library in
          try engine.register(library.text())
          try library.touch()
          let handle = try #require(dlopenOther())
          dlclose(handle)
          #expect(engine.statistics.released == 0)
          #expect(engine.record(at: try library.site("fixture_touch")) != nil)
        }
        #expect(engine.statistics.released == 1)
      }
    }

    /// A library of the system's that nothing here has loaded.
    func dlopenOther() -> UnsafeMutableRawPointer? {
      for name in ["libutil.so.1", "libanl.so.1", "libBrokenLocale.so.1"] {
        if let handle = dlopen(name, RTLD_NOW | RTLD_LOCAL) { return handle }
      }
      return nil
    }

    @Test("the same module again is never nopped while its stale record says converted")
    func sameModuleAgain() throws {
      try withEngine(.shipped) { engine in
        let ip = try leaveBehind(engine, .converted)
        try withLibrary { library in
          try #require(library.site("fixture_touch") == ip, "loaded elsewhere this time")
          try engine.register(library.text())
          for _ in 0..<3 {
            try library.touch()
            try engine.waitForCycle(now: true)
          }
          #expect(bytes(at: ip)[0] == 0xe8)
          #expect(engine.record(at: ip)?.flags == .converted)
        }
      }
    }

    @Test("zapped, the same module again is recorded and nopped anew, many times over")
    func sameModuleZapped() throws {
      try withEngine(.zapped) { engine in
        for round in 1...20 {
          try withLibrary { library in
            try engine.register(library.text())
            try library.touch()
            try engine.waitForCycle(now: true)
            #expect(bytes(at: try library.site("fixture_touch")) == nop)
          }
          #expect(engine.statistics.released == UInt64(round))
        }
        #expect(engine.statistics.conversions == 20 && engine.statistics.records == 0)
        #expect(engine.statistics.faulted == 0 && engine.statistics.mismatched == 0)
      }
    }

    @Test("modules come and go while the daemon converts every millisecond: no fault, no mismatch")
    func churn() throws {
      try withEngine(.zapped, intervalMicroseconds: 1_000) { engine in
        for _ in 0..<200 {
          try withLibrary { library in
            try engine.register(library.text())
            for _ in 0..<20 { try library.touch() }
          }
        }
        let stats = engine.statistics
        #expect(stats.faulted == 0 && stats.mismatched == 0 && stats.records == 0)
        #expect(stats.released == 200 && stats.limboRecords == 0)
      }
    }
  }
}
