// SPDX-License-Identifier: Apache-2.0

import CPatchCore
import CUnloadLab
import Foundation
import Testing
import Units

@testable import UnloadLab

extension DaemonTests {
  @Suite struct Records {
    /// The definition: multiply modulo 2^64, keep the top ten bits; by doubling and adding.
    func hashByDefinition(_ ip: UInt64) -> UInt32 {
      var product: UInt64 = 0
      for bit in 0..<64 where ip >> UInt64(bit) & 1 == 1 {
        product = product &+ (0x9e37_ffff_fffc_0001 as UInt64) << UInt64(bit)
      }
      return UInt32(product / (1 << 54))
    }

    @Test(
      "an address falls into the bucket of hash_long(ip, 10)",
      arguments: [
        0, 1, 5, 0x7f00_1234_5674, 0x5555_5555_4004, 0xffff_ffff_a000_0010, UInt64.max,
      ] as [UInt64])
    func hash(ip: UInt64) {
      #expect(nul_hash(ip) == hashByDefinition(ip))
      #expect(nul_hash(1) == 632)  // the top ten bits of 0x9e37…: 1001111000
    }

    @Test("10,000 records are preallocated, in pages of 127")
    func preallocation() throws {
      try withEngine { engine in
        #expect(engine.statistics.pages == 79)
        #expect(engine.statistics.unusedRecords == 79 * 127)
        #expect(79 * 127 >= NUL_PREALLOCATED && 78 * 127 < NUL_PREALLOCATED)
      }
    }

    @Test("a site is recorded once, and the newest record of a bucket stands at its head")
    func insertion() throws {
      let field = CallField(siteCount: 8192)
      let sites = try field.collidingSites(3)
      try withEngine { engine in
        try engine.register(field.text)
        for site in sites + sites { nul_record_ip(site) }
        #expect(engine.statistics.records == 3)
        #expect(sites.map { engine.record(at: $0)?.depth } == [2, 1, 0])
        #expect(engine.statistics.isTriggered)
      }
    }

    @Test("with no free record a call goes unrecorded until the daemon has added a page")
    func exhaustion() throws {
      let field = CallField(siteCount: 300)
      var options = nul_daemon_options()
      options.preallocated_records = 127
      options.interval_microseconds = 60_000_000
      try #require(nul_daemon_attach(&options, nil) == 0)
      defer { _ = nul_daemon_detach() }
      try #require(nul_text_register(field.start, field.end, field.start) == 0)
      nul_daemon_set_stopped(true)
      for index in 0..<128 { nul_record_ip(field.site(index)) }
      var stats = nul_daemon_stats()
      nul_daemon_get_stats(&stats)
      #expect(stats.records == 127 && stats.dropped == 1 && stats.pages == 1)
      try #require(nul_daemon_wait_cycle(2000, true))
      nul_record_ip(field.site(127))
      nul_daemon_get_stats(&stats)
      #expect(stats.records == 128 && stats.pages == 2 && stats.unused_records == 126)
      // One page per cycle, and only where none is left.
      try #require(nul_daemon_wait_cycle(2000, true))
      nul_daemon_get_stats(&stats)
      #expect(stats.pages == 3)
      try #require(nul_daemon_wait_cycle(2000, true))
      nul_daemon_get_stats(&stats)
      #expect(stats.pages == 3)
    }

    @Test("a call that is not an e8 in a registered text is listed as skipped, not recorded")
    func skipping() throws {
      let field = CallField(siteCount: 4)
      let stranger = CallField(siteCount: 1)
      write([0xff, 0x15], at: field.site(1))
      try withEngine { engine in
        try engine.register(field.text)
        for ip in [field.site(0), field.site(1), field.site(1), stranger.site(0)] {
          nul_record_ip(ip)
        }
        #expect(engine.statistics.records == 1)
        #expect(engine.statistics.skippedCalls == 3)
        #expect(engine.skippedSites.map(\.rawValue) == [field.site(1), stranger.site(0)])
      }
    }

    @Test("releasing a record in the middle of a bucket leaves the chain whole, also when reused")
    func zapInTheMiddle() throws {
      let field = CallField(siteCount: 8192)
      let sites = try field.collidingSites(5)
      try withEngine(.zapped) { engine in
        try engine.register(field.text)
        for site in sites { nul_record_ip(site) }
        #expect(engine.release(start: sites[2], end: sites[2] + 5) == 1)
        let rest = [sites[0], sites[1], sites[3], sites[4]]
        // The newest is the head of the chain.
        func depths() -> [Int?] { rest.map { engine.record(at: $0)?.depth } }
        #expect(depths() == [3, 2, 1, 0])
        #expect(engine.record(at: sites[2]) == nil)
        #expect(engine.statistics.freeRecords == 1 && engine.statistics.limboRecords == 0)

        // Reused in another bucket: in the historical trap this one cut the first bucket.
        let elsewhere = try #require(
          (0..<field.siteCount).map(field.site).first { nul_hash($0) != nul_hash(sites[0]) })
        nul_record_ip(elsewhere)
        #expect(engine.statistics.freeRecords == 0)
        #expect(depths() == [3, 2, 1, 0])
        #expect(engine.record(at: elsewhere)?.depth == 0)
        #expect(rest.allSatisfy { engine.record(at: $0) != nil })
      }
    }

    @Test("a released text is forgotten: its sites are skipped from then on")
    func forgetting() throws {
      let field = CallField(siteCount: 4)
      try withEngine(.zapped) { engine in
        try engine.register(field.text)
        for index in 0..<4 { nul_record_ip(field.site(index)) }
        #expect(engine.release(start: field.start, end: field.end) == 4)
        #expect(engine.statistics.records == 0)
        nul_record_ip(field.site(0))
        #expect(engine.statistics.records == 0)
        #expect(engine.skippedSites.map(\.rawValue) == [field.site(0)])
      }
    }

    @Test("a release does not wait where no thread reads, and new records stay right under load")
    func releaseUnderReaders() throws {
      let field = CallField(siteCount: 2048)
      try withEngine(.zapped) { engine in
        try engine.register(field.text)
        engine.setStopped(true)
        try withLibrary { library in
          try engine.register(library.text())
          nonisolated(unsafe) let touch = try library.function(
            "fixture_touch", (@convention(c) () -> Void).self)
          let isDone = Flag()
          touch()
          let threads = (0..<2).map { _ in
            Thread { while !isDone.isSet { for _ in 0..<100 { touch() } } }
          }
          for thread in threads { thread.start() }
          for _ in 0..<50 {
            for index in 0..<2048 { nul_record_ip(field.site(index)) }
            #expect(engine.release(start: field.site(0), end: field.end) == 2048)
          }
          isDone.isSet = true
          while !threads.allSatisfy(\.isFinished) { usleep(1000) }
          #expect(engine.statistics.limboRecords == 0)
          #expect(engine.statistics.records == 1)
        }
      }
    }

    @Test("a second engine is refused while one is attached")
    func oneAtATime() throws {
      try withEngine { _ in
        let second = DaemonEngine(version: .verified)
        #expect(throws: DaemonEngineError.alreadyAttached) { try second.attach() }
        #expect(throws: DaemonEngineError.notAttached) { try second.startTracer() }
      }
    }

    @Test("a text that is not mapped is refused with its range and the reason")
    func refusedText() throws {
      try withEngine { engine in
        let text = InstrumentedText(start: 0x10000, end: 0x12000, mcountStub: 0x10000)
        let error = #expect(throws: DaemonEngineError.self) { try engine.register(text) }
        #expect(
          error?.description
            == "cannot open text 0x10000-0x12000 for writing (mcount stub 0x10000): "
            + "Cannot allocate memory: is the module loaded?")
      }
    }
  }
}
