// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// The table of the scene `unload`, cell by cell.
///
/// What each cell has to be follows from the two designs: section "The bug" of the history that
/// docs/story.md tells. By record: a pending one is converted when the daemon wakes, a converted
/// one is written when a tracer starts, an enabled one when the tracer stops.
@Suite(.serialized) struct DemoUnloadTests {
  struct Row: Sendable, CustomStringConvertible {
    var engine, occupant, pending, converted, enabled: String
    var description: String { "\(engine), \(occupant)" }

    init(_ engine: String, _ occupant: String, _ outcomes: String...) {
      (self.engine, self.occupant) = (engine, occupant)
      (pending, converted, enabled) = (outcomes[0], outcomes[1], outcomes[2])
    }
  }

  static let rows = [
    // As shipped: every stale record reaches what is mapped there.
    Row("shipped", "nothing", "fault", "fault", "fault"),
    Row(
      "shipped", "other-bytes", "mismatch-write-cycle", "mismatch-write-cycle",
      "mismatch-write-cycle"),
    Row("shipped", "same-bytes", "overwritten", "overwritten", "overwritten"),
    Row(
      "shipped", "other-module", "mismatch-write-cycle", "mismatch-write-cycle",
      "mismatch-write-cycle"),
    Row("shipped", "same-module", "overwritten", "never-nopped", "mismatch-write-cycle"),
    Row("shipped", "device", "device-access", "device-access", "device-access"),
    // Verified: other bytes are left alone; equal bytes and reads are beyond what a look can save.
    Row("verified", "nothing", "fault", "fault", "fault"),
    Row("verified", "other-bytes", "untouched", "untouched", "untouched"),
    Row("verified", "same-bytes", "overwritten", "overwritten", "overwritten"),
    Row("verified", "other-module", "untouched", "untouched", "untouched"),
    Row("verified", "same-module", "overwritten", "never-nopped", "untouched"),
    Row("verified", "device", "device-access", "device-access", "device-access"),
    // Zapped: no record outlives its module.
    Row("zapped", "nothing", "untouched", "untouched", "untouched"),
    Row("zapped", "other-bytes", "untouched", "untouched", "untouched"),
    Row("zapped", "same-bytes", "untouched", "untouched", "untouched"),
    Row("zapped", "other-module", "untouched", "untouched", "untouched"),
    Row("zapped", "same-module", "untouched", "untouched", "untouched"),
    Row("zapped", "device", "untouched", "untouched", "untouched"),
    // Static: nor here; and a site is a nop before its first call, so none is pending.
    Row("static", "nothing", "unreachable", "untouched", "untouched"),
    Row("static", "other-bytes", "unreachable", "untouched", "untouched"),
    Row("static", "same-bytes", "unreachable", "untouched", "untouched"),
    Row("static", "other-module", "unreachable", "untouched", "untouched"),
    Row("static", "same-module", "unreachable", "untouched", "untouched"),
    Row("static", "device", "unreachable", "untouched", "untouched"),
  ]

  private func cells() throws -> [[String: Any]] {
    try #require(try DemoTests.scene("unload")["cells"] as? [[String: Any]])
  }

  private func cell(_ row: Row, _ record: String) throws -> [String: Any] {
    let found = try cells().filter {
      $0["engine"] as? String == row.engine && $0["occupant"] as? String == row.occupant
        && $0["record"] as? String == record
    }
    #expect(found.count == 1, "\(row), \(record)")
    return try #require(found.first)
  }

  @Test("4 engines, 6 occupants and 3 states of the record are 72 cells, of the documented keys")
  func schema() throws {
    let cells = try cells()
    #expect(cells.count == 72)
    let documented: Set = [
      "engine", "occupant", "record", "outcome", "deviceReads", "deviceWrites", "bytesChanged",
      "expected", "held",
    ]
    for cell in cells { #expect(Set(cell.keys).isSuperset(of: documented)) }
  }

  @Test("every cell is what the two designs make of it", arguments: rows)
  func outcomes(row: Row) throws {
    let expected = [
      ("pending", row.pending), ("converted", row.converted), ("enabled", row.enabled),
    ]
    for (record, outcome) in expected {
      let cell = try cell(row, record)
      #expect(cell["outcome"] as? String == outcome, "\(row), \(record)")
      #expect(cell["expected"] as? String == outcome)
      #expect(cell["held"] as? Bool == true)
      let changed = try #require(cell["bytesChanged"] as? Int)
      // Of the new five bytes some may be the old ones.
      #expect(outcome == "overwritten" ? (1...5).contains(changed) : changed == 0)
    }
  }

  @Test("a device sees one read and one write of the shipped engine, and no write of any other")
  func device() throws {
    for row in Self.rows {
      for record in ["pending", "converted", "enabled"] {
        let cell = try cell(row, record)
        let reads = try #require(cell["deviceReads"] as? Int)
        let writes = try #require(cell["deviceWrites"] as? Int)
        switch (row.engine, row.occupant) {
        case ("shipped", "device"): #expect(reads == 1 && writes == 1)
        case ("verified", "device"): #expect(reads > 0 && writes == 0)
        default: #expect(reads == 0 && writes == 0, "\(row), \(record)")
        }
      }
    }
  }

  @Test("memory that an engine may not touch sees neither a read nor a write cycle of it")
  func accesses() throws {
    for row in Self.rows where row.engine == "zapped" || row.engine == "static" {
      for record in ["pending", "converted", "enabled"] {
        let cell = try cell(row, record)
        #expect(cell["reads"] as? Int ?? 0 == 0, "\(row), \(record)")
        // The same module again is found, and patched, as itself.
        if row.occupant != "same-module" {
          #expect(cell["writeCycles"] as? Int ?? 0 == 0, "\(row), \(record)")
        }
      }
    }
  }

  @Test("each occupant lands on the freed address with no hint")
  func landed() throws {
    for row in Self.rows {
      for record in ["pending", "converted", "enabled"] {
        let landed = try cell(row, record)["landed"] as? Bool
        let isPlaced = row.occupant != "nothing" && !(row.engine == "static" && record == "pending")
        #expect(landed == isPlaced, "\(row), \(record)")
      }
    }
  }

  @Test("the same module again is made a nop again, but where a stale record says it is one")
  func again() throws {
    for row in Self.rows where row.occupant == "same-module" {
      for record in ["pending", "converted", "enabled"] {
        guard !(row.engine == "static" && record == "pending") else { continue }
        let again = try cell(row, record)["noppedAgain"] as? Bool
        let isStale = ["shipped", "verified"].contains(row.engine) && record == "converted"
        #expect(again == !isStale, "\(row), \(record)")
      }
    }
  }
}
