// SPDX-License-Identifier: Apache-2.0

import CPatchCore
import CUnloadLab
import Foundation
import Testing
import Units

@testable import UnloadLab

/// The traced function that `recursionGuard`'s fault handler calls, and the page it opens then.
nonisolated(unsafe) private var faultFunction: (@convention(c) () -> Void)?
nonisolated(unsafe) private var faultPage: UInt = 0

extension DaemonTests {
  @Suite struct Life {
    @Test("mcount and _mcount are ours: a library's call of mcount is counted")
    func binding() throws {
      try withLibrary { library in
        McountMode.current = .off
        McountMode.clearCounts()
        try library.touch()
        #expect(McountMode.callCount == 0)
        McountMode.current = .count
        defer { McountMode.current = .off }
        for _ in 0..<10 { try library.touch() }
        #expect(McountMode.callCount == 10)
        let ours = dlsym(nil, "mcount")
        #expect(
          ours == dlsym(nil, "_mcount")
            && ours != dlsym(UnsafeMutableRawPointer(bitPattern: -1), "mcount"))
      }
    }

    @Test(
      "every register an entry may use survives mcount, in each mode and at any stack alignment",
      arguments: [McountMode.off, .count, .record], ["fixture_registers", "fixture_registers_odd"])
    func registers(mode: McountMode, function: String) throws {
      try withLibrary { library in
        let differing = try library.function(function, (@convention(c) () -> Int).self)
        try withEngine { engine in
          try engine.register(library.text())
          McountMode.current = mode
          #expect(differing() == 0)  // in `.record` the first call inserts, the second one finds
          #expect(differing() == 0)
          if mode == .record { #expect(engine.statistics.records == 1) }
        }
      }
    }

    /// Integer, floating-point and variadic arguments, which an entry holds in registers.
    func resultsAreRight(_ library: LoadedLibrary) throws -> Bool {
      let six = try library.function("fixture_call_six", (@convention(c) () -> Int).self)()
      let eight = try library.function("fixture_call_eight", (@convention(c) () -> Double).self)()
      let sum = try library.function("fixture_call_sum", (@convention(c) () -> Double).self)()
      return six == 654_321 && eight == 1793 && sum == 12
    }

    @Test(
      "record, nop, enable, disable: bytes and results at each step",
      arguments: [
        DaemonEngine.Version.shipped, .verified, .zapped,
      ])
    func wholeLife(version: DaemonEngine.Version) throws {
      try withLibrary { library in
        let ip = try library.site("fixture_six")
        let original = bytes(at: ip)
        let text = try library.text()
        #expect(original == call(from: ip, to: text.mcountStub.rawValue))
        try withEngine(version) { engine in
          try engine.register(text)
          #expect(engine.record(at: ip) == nil)
          #expect(try resultsAreRight(library))
          #expect(engine.record(at: ip)?.flags == [])
          #expect(engine.statistics.records == 6)

          try engine.waitForCycle(now: true)
          #expect(bytes(at: ip) == nop)
          #expect(engine.record(at: ip)?.flags == .converted)
          #expect(engine.statistics.conversions == 6)
          let calls = engine.statistics.mcountCalls
          #expect(try resultsAreRight(library))
          #expect(engine.statistics.mcountCalls == calls)

          try engine.startTracer()
          let armed = bytes(at: ip)
          #expect(armed[0] == original[0] && armed != original)  // a call of something else
          #expect(engine.record(at: ip)?.flags == [.converted, .enabled])
          #expect(try resultsAreRight(library))
          #expect(engine.statistics.tracedCalls == 6 && engine.statistics.mcountCalls == calls)

          try engine.stopTracer()
          #expect(bytes(at: ip) == nop)
          #expect(try resultsAreRight(library))
          #expect(engine.statistics.tracedCalls == 6)
          #expect(engine.patches().map(\.result).allSatisfy { $0 == .done })
          #expect(engine.patches().count == 18)
        }
      }
    }

    @Test("a tracer that starts converts what the daemon has not, and suspends the daemon")
    func pendingAtStart() throws {
      try withLibrary { library in
        let (touched, late) = (try library.site("fixture_touch"), try library.site("fixture_other"))
        try withEngine { engine in
          try engine.register(library.text())
          try library.touch()
          try engine.startTracer()
          #expect(engine.record(at: touched)?.flags == [.converted, .enabled])
          try library.touch("fixture_other")
          try engine.waitForCycle(now: true)
          #expect(engine.record(at: late)?.flags == [])
          try engine.stopTracer()
          try engine.waitForCycle(now: true)
          #expect(engine.record(at: late)?.flags == .converted)
        }
      }
    }

    @Test("filter and notrace choose the sites that a tracer enables")
    func filters() throws {
      try withLibrary { library in
        let (one, two) = (try library.site("fixture_touch"), try library.site("fixture_other"))
        try withEngine { engine in
          try engine.register(library.text())
          #expect(throws: DaemonEngineError.noRecord(ip: CodeAddress(one))) {
            try engine.filter(one)
          }
          try library.touch()
          try library.touch("fixture_other")
          func enabled() -> [Bool] {
            [one, two].map { engine.record(at: $0)?.flags.contains(.enabled) == true }
          }
          try engine.filter(one)
          try engine.startTracer()
          #expect(enabled() == [true, false] && bytes(at: two) == nop)
          engine.clearFilters()
          try engine.notrace(one)
          try engine.startTracer()
          #expect(enabled() == [false, true] && bytes(at: one) == nop)
          try engine.stopTracer()
          #expect(enabled() == [false, false])
        }
      }
    }

    @Test("the daemon wakes by itself at its interval")
    func interval() throws {
      try withLibrary { library in
        try withEngine(intervalMicroseconds: 5_000) { engine in
          try engine.register(library.text())
          try library.touch()
          try engine.waitForCycle()
          try engine.waitForCycle()
          #expect(bytes(at: try library.site("fixture_touch")) == nop)
          #expect(engine.statistics.cycles >= 2)
        }
      }
    }

    @Test("a call of mcount from inside the recorder is counted and not recorded")
    func recursionGuard() throws {
      try withLibrary { library in
        let field = CallField(siteCount: 1)
        try withEngine { engine in
          try engine.register(library.text())
          try engine.register(field.text)
          faultFunction = try library.function("fixture_touch", (@convention(c) () -> Void).self)
          faultPage = UInt(field.start)
          try #require(
            npc_faults_add { _, _, _ in
              guard faultPage != 0 else { return false }
              faultFunction?()
              mprotect(UnsafeMutableRawPointer(bitPattern: faultPage), 4096, PROT_READ)
              faultPage = 0
              return true
            } == 0)
          field.protect(PROT_NONE)  // the recorder reads the site under its lock, and faults
          nul_record_ip(field.site(0))
          #expect(engine.statistics.recursions == 1)
          #expect(engine.record(at: field.site(0)) != nil)
          #expect(engine.record(at: try library.site("fixture_touch")) == nil)
        }
      }
    }

    @Test("detach leaves the bytes, stops mcount, drops all records: the next engine starts empty")
    func detaching() throws {
      try withLibrary { library in
        for _ in 0..<20 {
          try withEngine { engine in
            #expect(engine.statistics.records == 0 && engine.statistics.mcountCalls == 0)
            try engine.register(library.text())
            try library.touch("fixture_other")
          }
          #expect(McountMode.current == .off)
          #expect(bytes(at: try library.site("fixture_other"))[0] == 0xe8)
        }
      }
    }
  }
}
