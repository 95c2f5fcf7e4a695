// SPDX-License-Identifier: Apache-2.0

import CRecorder
import Foundation
import Testing

@testable import Recorder

/// When the event loop calls whom.
@Suite struct EventLoopTests {
  /// A pipe; what is written to it stays readable.
  private final class Pipe {
    let reading, writing: Descriptor

    init() {
      var ends: [Int32] = [-1, -1]
      #expect(nrc_pipe(&ends) == 0)
      reading = Descriptor(ends[0])
      writing = Descriptor(ends[1])
    }

    func fill() { #expect(writing.write([1]) == 0) }
    func drain() { #expect(reading.number >= 0 && read() == 1) }

    private func read() -> Int {
      var byte: UInt8 = 0
      return Foundation.read(reading.number, &byte, 1)
    }
  }

  private final class Log {
    var entries: [String] = []
    func note(_ entry: String) -> () -> Void { { self.entries.append(entry) } }
  }

  @Test("a handler is called while its descriptor is readable, and not after it was removed")
  func readable() throws {
    let loop = try EventLoop()
    let log = Log()
    let pipe = Pipe()
    let registration = loop.add(pipe.reading.number, log.note("a"))
    loop.turn(milliseconds: 0)
    #expect(log.entries == [])
    pipe.fill()
    loop.turn(milliseconds: -1)
    loop.turn(milliseconds: -1)
    #expect(log.entries == ["a", "a"])
    pipe.drain()
    loop.turn(milliseconds: 0)
    #expect(log.entries.count == 2)
    pipe.fill()
    loop.remove(registration)
    loop.turn(milliseconds: 0)
    #expect(log.entries.count == 2)
  }

  @Test("the end of a writer wakes its reader")
  func end() throws {
    let loop = try EventLoop()
    let log = Log()
    var ends: [Int32] = [-1, -1]
    #expect(nrc_pipe(&ends) == 0)
    let reading = Descriptor(ends[0])
    _ = loop.add(reading.number, log.note("end"))
    close(ends[1])
    loop.turn(milliseconds: -1)
    #expect(log.entries == ["end"])
  }

  @Test("descriptors are served in the order in which they were added")
  func order() throws {
    let loop = try EventLoop()
    let log = Log()
    let pipes = (0..<5).map { _ in Pipe() }
    let registrations = pipes.enumerated().map { loop.add($1.reading.number, log.note("\($0)")) }
    for pipe in pipes.reversed() { pipe.fill() }
    loop.turn(milliseconds: -1)
    #expect(log.entries == ["0", "1", "2", "3", "4"])
    loop.remove(registrations[1])
    loop.remove(registrations[3])
    loop.turn(milliseconds: -1)
    #expect(log.entries.suffix(3) == ["0", "2", "4"])
  }

  @Test("a handler that removes another one is the last word, though both were ready")
  func removal() throws {
    let loop = try EventLoop()
    let log = Log()
    let (first, second) = (Pipe(), Pipe())
    var other: EventLoop.Registration?
    let registration = loop.add(first.reading.number) {
      log.entries.append("first")
      loop.remove(other)
    }
    other = loop.add(second.reading.number, log.note("second"))
    first.fill()
    second.fill()
    loop.turn(milliseconds: -1)
    #expect(log.entries == ["first"])
    loop.remove(registration)
  }

  @Test("what a handler adds waits for the next turn, be it ready or due")
  func addition() throws {
    let loop = try EventLoop()
    let log = Log()
    let pipe = Pipe()
    pipe.fill()
    loop.at(0) {
      log.entries.append("first")
      _ = loop.add(pipe.reading.number, log.note("readable"))
      loop.at(0, log.note("second"))
    }
    loop.turn(milliseconds: -1)
    #expect(log.entries == ["first"])
    loop.turn(milliseconds: -1)
    #expect(log.entries == ["first", "readable", "second"])
  }

  @Test("deadlines are met in their order, once, and never early")
  func deadlines() throws {
    let loop = try EventLoop()
    let log = Log()
    let start = nrc_monotonic_nanoseconds()
    loop.at(start + 3_000_000) {
      #expect(nrc_monotonic_nanoseconds() >= start + 3_000_000)
      log.entries.append("later")
    }
    loop.at(start + 1_500_000, log.note("sooner"))
    loop.remove(loop.at(start, log.note("never")))
    loop.at(start + 1_500_000, log.note("then"))
    while log.entries.count < 3 { loop.turn(milliseconds: -1) }
    loop.turn(milliseconds: 5)
    #expect(log.entries == ["sooner", "then", "later"])
  }

  @Test("a deadline's handler that removes another that is due is the last word")
  func removedDeadline() throws {
    let loop = try EventLoop()
    let log = Log()
    var other: EventLoop.Registration?
    loop.at(1) { loop.remove(other) }
    other = loop.at(2, log.note("other"))
    loop.turn(milliseconds: -1)
    loop.turn(milliseconds: 0)
    #expect(log.entries == [])
  }

  @Test("more that is ready than one turn serves is served in the next, and nobody is left out")
  func manyReady() throws {
    let loop = try EventLoop()
    let pipes = (0..<300).map { _ in Pipe() }
    var served: Set<Int> = []
    for (number, pipe) in pipes.enumerated() {
      _ = loop.add(pipe.reading.number) {
        served.insert(number)
        pipe.drain()
      }
      pipe.fill()
    }
    for _ in 0..<5 { loop.turn(milliseconds: 0) }
    #expect(served.count == 300)
  }

  @Test("a quiet moment is one in which nothing is ready, for as long as was asked")
  func quiet() throws {
    let loop = try EventLoop()
    let log = Log()
    let pipe = Pipe()
    let registration = loop.add(pipe.reading.number, log.note("busy"))
    pipe.fill()
    loop.whenQuiet(log.note("at once"))
    loop.turn(milliseconds: -1)
    #expect(log.entries == ["busy"], "who waits comes first")
    pipe.drain()
    let start = nrc_monotonic_nanoseconds()
    loop.whenQuiet(nanoseconds: 3_000_000) {
      #expect(nrc_monotonic_nanoseconds() >= start + 2_000_000)
      log.entries.append("long quiet")
    }
    while log.entries.count < 3 { loop.turn(milliseconds: -1) }
    #expect(log.entries == ["busy", "at once", "long quiet"])
    loop.turn(milliseconds: 5)
    #expect(log.entries.count == 3, "once")
    loop.remove(registration)
  }
}
