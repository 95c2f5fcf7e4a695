// SPDX-License-Identifier: Apache-2.0

import CRecorder
import CRecordingABI
import Foundation
import RecordingSchema
import TestSupport
import Testing
import Units

@testable import Recorder

/// Notes of processes without a connection, written as an agent writes them, or as a hostile program
/// may.
@Suite struct MissingProcessesTests {
  /// The notes' memory, mapped a second time.
  private final class Bench {
    let notes: Notes
    let shared: UnsafeMutablePointer<nrec_notes>
    var found: [MissingProcess] = []

    init() throws {
      notes = try Notes()
      let size = MemoryLayout<nrec_notes>.size
      let memory = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_SHARED, notes.file, 0)
      shared = try #require(memory).bindMemory(to: nrec_notes.self, capacity: 1)
    }

    deinit { munmap(shared, MemoryLayout<nrec_notes>.size) }

    func leave(_ kind: Int, _ process: Int32, time: UInt64, program: String = "", error: Int32 = 0)
    {
      let place = Int(shared.pointee.next % UInt64(NREC_NOTES))
      shared.pointee.next += 1
      var note = nrec_note()
      note.kind = UInt32(kind)
      note.process = process
      note.time = time
      note.error = error
      note.length = UInt32(program.utf8.count)
      withUnsafeMutableBytes(of: &note.program) {
        $0.copyBytes(from: program.utf8.prefix($0.count))
      }
      let offset = MemoryLayout<nrec_notes>.offset(of: \.notes)
      UnsafeMutableRawPointer(shared).advanced(by: (offset ?? 0) + place * Int(NREC_NOTE_BYTES))
        .copyMemory(from: &note, byteCount: Int(NREC_NOTE_BYTES))
    }

    func missing() -> MissingProcesses {
      MissingProcesses(notes: notes) { [weak self] in self?.found.append($0) }
    }
  }

  private static func image(_ pid: Int32, time: UInt64, isFork: Bool = false) -> TracedProcess {
    TracedProcess(
      process: pid, parent: 1, startTime: ClockUnits(time), incarnation: 0, program: "/bin/program",
      isFork: isFork)
  }

  @Test("a program that joins settles what was said of it; one that does not is missing")
  func settled() throws {
    let bench = try Bench()
    let missing = bench.missing()
    bench.leave(NREC_NOTE_EXEC, 10, time: 100, program: "/no/such/a")
    bench.leave(NREC_NOTE_EXEC, 11, time: 100, program: "/no/such/b")
    missing.read(latest: [:])
    missing.settle(Self.image(10, time: 150))
    // A copy is no new image, and an image that began before is none that was expected.
    missing.settle(Self.image(11, time: 150, isFork: true))
    missing.settle(Self.image(11, time: 50))
    #expect(bench.found.isEmpty)
    missing.finish(latest: [:])
    #expect(bench.found.map(\.pid) == [11])
    #expect(bench.found.first?.reason.hasPrefix("its agent did not connect") == true)
  }

  @Test("a child of posix_spawn may have joined before its parent says so")
  func spawned() throws {
    let bench = try Bench()
    let missing = bench.missing()
    bench.leave(NREC_NOTE_SPAWNED, 10, time: 100, program: "/no/such/a")
    bench.leave(NREC_NOTE_SPAWNED, 11, time: 100, program: "/no/such/b")
    missing.read(latest: [10: Self.image(10, time: 150), 11: Self.image(11, time: 50)])
    missing.finish(latest: [:])
    #expect(bench.found.map(\.pid) == [11])
  }

  @Test("an exec that failed is over; one that follows another shows that the first did not join")
  func followed() throws {
    let bench = try Bench()
    let missing = bench.missing()
    bench.leave(NREC_NOTE_EXEC, 10, time: 100, program: "/no/such/a")
    bench.leave(NREC_NOTE_STAYED, 10, time: 100)
    bench.leave(NREC_NOTE_EXEC, 10, time: 200, program: "/no/such/b", error: ENOENT)
    bench.leave(NREC_NOTE_EXEC, 10, time: 300, program: "/no/such/c")
    missing.read(latest: [:])
    #expect(bench.found.map(\.program) == ["/no/such/b"])
    #expect(bench.found.first?.reason.contains("another root directory") == true)
    missing.settle(Self.image(10, time: 350))
    missing.finish(latest: [:])
    #expect(bench.found.count == 1)
  }

  @Test("the ring is read round and round; what found no place is counted")
  func ring() throws {
    let bench = try Bench()
    let missing = bench.missing()
    for round in 0..<5 {
      for number in 0..<375 {
        bench.leave(NREC_NOTE_EXEC, 1, time: UInt64(round * 375 + number), program: "/no/such")
        bench.leave(NREC_NOTE_STAYED, 1, time: UInt64(round * 375 + number))
      }
      missing.read(latest: [:])
      #expect(bench.shared.pointee.read == bench.shared.pointee.next)
    }
    bench.shared.pointee.lost = 3
    missing.finish(latest: [:])
    #expect(bench.found.map(\.reason).count == 1)
    #expect(bench.found.first?.reason.hasPrefix("3 notes about processes found no place") == true)
  }

  @Test("a writer that stopped in the middle holds nothing up at the end")
  func halfWritten() throws {
    let bench = try Bench()
    let missing = bench.missing()
    bench.shared.pointee.next += 1
    bench.leave(NREC_NOTE_EXEC, 11, time: 100, program: "/no/such/b")
    missing.read(latest: [:])
    #expect(bench.shared.pointee.read == 0)
    missing.finish(latest: [:])
    #expect(bench.found.map(\.pid) == [11])
  }

  @Test("what a hostile program writes there is no number that is followed")
  func hostile() throws {
    let bench = try Bench()
    let missing = bench.missing()
    bench.shared.pointee.next = .max
    missing.read(latest: [:])
    bench.shared.pointee.next = 0
    bench.shared.pointee.read = .max
    bench.leave(99, 10, time: 1, program: "/no/such")
    bench.leave(NREC_NOTE_EXEC, -1, time: 1, program: "/no/such")
    bench.leave(
      NREC_NOTE_EXEC, 12, time: .max, program: String(repeating: "/long", count: 100))
    missing.finish(latest: [:])
    #expect(bench.found.map(\.pid) == [12] && bench.found.first?.program == nil)
    #expect(ftruncate(bench.notes.file, 0) == -1, "no access of ours can be made to fault")
  }

  @Test("however many programs are expected, those whose process has ended are told")
  func many() throws {
    let bench = try Bench()
    let missing = bench.missing()
    for round in 0..<2 {
      for number in 0..<1000 {
        // No process has so high a number: see pid_max in proc(5).
        let process = Int32.max - Int32(round * 1000 + number)
        bench.leave(NREC_NOTE_EXEC, process, time: 1, program: "/no/such")
      }
      missing.read(latest: [:])
    }
    #expect(bench.found.count == 2000)
  }
}
