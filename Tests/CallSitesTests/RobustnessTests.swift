// SPDX-License-Identifier: Apache-2.0

import CallSites
import ELFImage
import Foundation
import MachineCode
import TestSupport
import Testing

/// Files damaged at random: each gives a table or an error.
///
/// A crash or a hang fails the run.
@Suite struct RobustnessTests {
  static let fixtures = [
    Fixture(.gcc, ["-O2", "-pg", "-fpatchable-function-entry=7,2"], link: ["-nostdlib"]),
    Fixture(.clang, ["-O2", "-pg", "-mfentry"], link: ["-nostdlib"]),
  ]

  /// Looks at everything that a file says; how many sites came out, nil for an error.
  static func examine(_ bytes: [UInt8], _ decoder: Decoder) -> Int? {
    do {
      let image = try ELFImage(bytes: ELFBytes(path: "mutant", storage: bytes))
      let table =
        image.sections(named: ".nopscope.sites").isEmpty
        ? try SiteTable.discover(image, decoder: decoder)
        : try SiteTable.recorded(image, decoder: decoder)
      for site in table.sites {
        _ = table.functionName(of: site)
        _ = table.target(of: site)
        // A site that is listed is one that can be read: never outside the file.
        #expect(table.originalBytes(of: site).count == site.length)
      }
      for section in image.sections { _ = try? image.name(of: section) }
      _ = try image.address(ofSymbol: "leaf")
      return table.sites.count
    } catch let error as ELFError {
      check(error.description)
    } catch let error as SiteError {
      check(error.description)
    } catch {
      Issue.record("neither ELFError nor SiteError: \(error)")
    }
    return nil
  }

  private static func check(_ message: String) {
    if !message.hasPrefix("mutant") || message.contains("\n") { Issue.record("\(message)") }
  }

  /// The fixture's file, with a recorded table: as much to damage as there can be.
  static func recorded(_ fixture: Fixture) throws -> [UInt8] {
    try RecordedTests.bytes(RecordedTests.record(fixture))
  }

  @Test("a file cut short anywhere is an error", arguments: fixtures)
  func truncation(fixture: Fixture) throws {
    let decoder = try Decoder()
    let bytes = try Self.recorded(fixture)
    for length in 0..<bytes.count {
      #expect(Self.examine(Array(bytes[..<length]), decoder) == nil, "\(length) bytes")
    }
  }

  @Test("a file with flipped bytes is an error or a table", arguments: fixtures)
  func flips(fixture: Fixture) throws {
    let decoder = try Decoder()
    let original = try RecordedTests.bytes(fixture.build())
    let recorded = try Self.recorded(fixture)
    var random = SeededGenerator(seed: UInt64(Date().timeIntervalSince1970 * 1000))
    print("seed \(random.seed)")
    var tables = 0
    for round in 0..<1500 {
      var bytes = round % 2 == 0 ? original : recorded
      // Headers and tables stand at the ends: damage there says most.
      let places = [0..<64, 64..<1024, 0..<bytes.count, (bytes.count - 2048)..<bytes.count]
      let place = places[round % 4]
      for _ in 0...Int.random(in: 0..<4, using: &random) {
        let index = Int.random(in: place, using: &random)
        bytes[index] = [0, 0xff, 0x7f, 0x80, bytes[index] ^ 1, UInt8(index & 255)]
          .randomElement(using: &random)!
      }
      if Self.examine(bytes, decoder) != nil { tables += 1 }
    }
    #expect(tables > 0, "seed \(random.seed): no mutant was readable: the test tests nothing")
  }

  @Test("eight-byte fields set to extremes are an error or a table", arguments: fixtures)
  func extremes(fixture: Fixture) throws {
    let decoder = try Decoder()
    let original = try Self.recorded(fixture)
    let image = try ELFImage(bytes: ELFBytes(path: "original", storage: original))
    let programHeaders = 64..<(64 + 56 * image.segments.count)
    let sectionHeaders = Int(image.header.sectionHeaderOffset)..<original.count
    let dynamic = try #require(image.segments.first { $0.type == Segment.Kind.dynamic }).fileRange
    for range in [0..<64, programHeaders, sectionHeaders, dynamic] {
      for offset in stride(from: range.lowerBound, to: range.upperBound - 7, by: 8) {
        for value: UInt64 in [0, 1, 0x7fff_ffff_ffff_ffff, .max - 7, .max, UInt64(original.count)] {
          var bytes = original
          for index in 0..<8 {
            bytes[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * index))
          }
          _ = Self.examine(bytes, decoder)
        }
      }
    }
  }
}
