// SPDX-License-Identifier: Apache-2.0

import CSourceLines
import Foundation
import RecordingSchema
import TestSupport
import Testing

@testable import Recorder

/// What DWARF says of parameters and results, and what happens where it is damaged or libdw fails.
@Suite struct SignatureReadingTests {
  private static let program = Fixture(
    .gcc, ["-O2", "-g"], as: .sharedObject,
    source: """
      typedef unsigned long word;
      enum color { RED, BLUE = -3 };
      struct two { double d; int i; };
      struct five { long w[5]; };
      __attribute__((noipa)) word first(const word a, volatile enum color c, char *const t) { return a; }
      __attribute__((noipa)) struct five second(struct two p, long double q, void (*f)(int)) {
        struct five r = {{0}};
        return r;
      }
      __attribute__((noipa)) void third(_Bool b, signed char s, unsigned char *u, float _Complex z, int n) {}
      """)

  private func read(
    _ path: String, _ addresses: [UInt64], library: String = "libdw.so.1",
    nanoseconds: UInt64 = 20_000_000_000
  ) -> (result: nsl_result, hasFailed: Bool, lines: [String]) {
    var answer = nsl_text()
    defer { nsl_free_text(&answer) }
    var hasFailed = false
    let result = path.withCString { path in
      addresses.withUnsafeBufferPointer { addresses in
        var module = nsl_module(
          path: path, addresses: addresses.baseAddress, count: UInt32(addresses.count))
        return nsl_read_signatures(library, &module, nanoseconds, &answer, &hasFailed)
      }
    }
    let text = String(
      decoding: UnsafeRawBufferPointer(start: answer.text, count: answer.length), as: UTF8.self)
    return (result, hasFailed, text.split(separator: "\n").map(String.init))
  }

  private func addresses(_ path: String) throws -> [UInt64] {
    let names = ["first", "second", "third"]
    let lines = try Tools.run("nm", [path]).split(separator: "\n").map { $0.split(separator: " ") }
    return names.compactMap { name in
      lines.first { $0.count == 3 && $0[2] == name }.flatMap { UInt64($0[0], radix: 16) }
    }.sorted()
  }

  /// Without the registers, which depend on the compiler.
  private func plain(_ line: String) -> String {
    line.split(separator: "\t", omittingEmptySubsequences: false)
      .map { $0.prefix { $0 != "@" } }.joined(separator: " ")
  }

  @Test("types are those of the source, without their typedefs")
  func types() throws {
    let path = try Self.program.build()
    let found = read(path, try addresses(path))
    #expect(found.result == NSL_DONE && !found.hasFailed)
    #expect(
      Set(found.lines.map(plain)) == [
        "E RED=0 BLUE=-3", "F 0 u8 u8 a e4:0 c s t", "F 1 {M40 {SI p L q p f",
        "F 2 - b b i1 s p u ? z i4 n",
      ])
    // At the first instruction a parameter is where the ABI puts it.
    let first = try #require(found.lines.first { $0.hasPrefix("F\t0") })
    #expect(first.contains("u8@5\ta"), "\(first)")
  }

  @Test("without libdw, without time, or where it crashes, nothing is found")
  func bounds() throws {
    let path = try Self.program.build()
    let all = try addresses(path)
    #expect(read(path, all, library: "libno-such-thing.so.1").result == NSL_NO_LIBRARY)
    #expect(read(path, all, nanoseconds: 0).result == NSL_NO_TIME)
    let crashing = try Fixture(
      .gcc, ["-O1"],
      source: "__attribute__((constructor)) static void crash(void) { __builtin_trap(); }"
    ).build()
    let found = read(path, all, library: crashing)
    #expect(found.result == NSL_DONE && found.hasFailed && found.lines == [])
    for other in ["/etc/passwd", "/nowhere", "/dev/zero"] {
      let found = read(other, all)
      #expect(found.result == NSL_DONE && !found.hasFailed && found.lines == [])
    }
  }

  /// Whatever comes of it, every line can be read or is left out.
  @Test("damaged DWARF ends nobody but its reader", arguments: 0..<24)
  func damaged(seed: Int) throws {
    let path = try Self.program.build()
    var generator = SeededGenerator(seed: UInt64(seed))
    var bytes = try Array(Data(contentsOf: URL(fileURLWithPath: path)))
    let sections = try Tools.run("readelf", ["-SW", path]).split(separator: "\n").map {
      $0.split(separator: "]").last?.split(separator: " ") ?? []
    }.filter { [".debug_info", ".debug_abbrev", ".debug_str"].contains($0.first ?? "") }
    #expect(sections.count == 3)
    for section in sections {
      let start = try #require(Int(section[3], radix: 16))
      let size = try #require(Int(section[4], radix: 16))
      for _ in 0..<4 {
        bytes[start + Int.random(in: 0..<size, using: &generator)] = UInt8.random(
          in: 0...255, using: &generator)
      }
    }
    let copy = try TemporaryFolder.shared.fresh("damaged") + "/file.so"
    try Data(bytes).write(to: URL(fileURLWithPath: copy))
    let found = read(copy, try addresses(path), nanoseconds: 5_000_000_000)
    var reading = SignatureReading()
    for line in found.lines { reading.read(line[...]) }
    for signature in reading.functions.values {
      _ = ArgumentLayout(signature, hasStack: true)
    }
  }
}
