// SPDX-License-Identifier: Apache-2.0

import ELFImage
import Foundation
import TestSupport
import Testing
import Units

/// What is read is what binutils reads.
@Suite struct ReadelfTests {
  static let fixtures =
    [
      Fixture(.gcc, ["-O2", "-pg"]),
      Fixture(.clang, ["-O0", "-pg"], as: .executable),
      Fixture(.gcc, ["-O2", "-ffunction-sections"], as: .positionIndependentExecutable),
      Fixture(.gcc, ["-O2"], as: .staticExecutable),
    ]
    + (Tools.hasLLD ? [Fixture(.clang, ["-O2", "-pg"], link: ["-fuse-ld=lld"])] : [])

  private func image(_ fixture: Fixture) throws -> ELFImage { try ELFImage(path: fixture.build()) }

  @Test("the build-id is readelf's", arguments: fixtures)
  func buildID(fixture: Fixture) throws {
    let notes = try Tools.run("readelf", ["-nW", fixture.build()])
    let expected = notes.split(separator: "\n").first { $0.contains("Build ID: ") }
    let found = try image(fixture).buildID.map { $0.map { String(format: "%02x", $0) }.joined() }
    #expect(expected.map { String($0.split(separator: " ").last!) } == found)
    #expect(found?.count == 40)
  }

  @Test("every function symbol's address is readelf's", arguments: fixtures)
  func symbols(fixture: Fixture) throws {
    let image = try image(fixture)
    let text = try Tools.run("readelf", ["-sW", fixture.build()])
    var checked = 0
    for line in text.split(separator: "\n") {
      let words = line.split(separator: " ").map(String.init)
      guard words.count == 8, words[3] == "FUNC", words[6] != "UND", words[4] == "GLOBAL",
        FixtureSource.instrumented.contains(words[7])
      else { continue }
      #expect(
        try image.address(ofSymbol: words[7])
          == UInt64(words[1], radix: 16).map { ModuleOffset($0) })
      checked += 1
    }
    #expect(checked >= FixtureSource.instrumented.count - 1)
    #expect(try image.address(ofSymbol: "no such function") == nil)
  }

  @Test("the dynamic relocations are readelf's", arguments: fixtures)
  func relocations(fixture: Fixture) throws {
    let text = try Tools.run("readelf", ["-rW", "--use-dynamic", fixture.build()])
    let expected = text.split(separator: "\n").compactMap { line -> UInt64? in
      let words = line.split(separator: " ")
      return words.count >= 3 && words[2].hasPrefix("R_X86_64_") ? UInt64(words[0], radix: 16) : nil
    }
    var found: [UInt64] = []
    for table in try image(fixture).dynamicRelocations() {
      for index in 0..<table.count { found.append(try table[index].offset.rawValue) }
    }
    // A static executable has relocations too, but no dynamic segment that says so.
    if try image(fixture).dynamic != nil {
      #expect(!expected.isEmpty)
      #expect(found.sorted() == expected.sorted())
    }
  }

  @Test("function extents by .eh_frame are the symbols'", arguments: fixtures)
  func unwinding(fixture: Fixture) throws {
    let image = try image(fixture)
    let extents = Set(try image.unwindFunctions())
    let table = try #require(try image.staticSymbols())
    var checked: Set<String> = []
    for index in 0..<table.count {
      let symbol = try table[index]
      guard symbol.isFunction, symbol.isDefined else { continue }
      let name = try table.name(of: symbol)
      guard FixtureSource.instrumented.contains(name) else { continue }
      #expect(extents.contains(symbol.value..<(symbol.value + symbol.size)), "\(name)")
      checked.insert(name)
    }
    #expect(checked == FixtureSource.instrumented)
  }

  @Test("without PT_GNU_EH_FRAME, .eh_frame itself is walked, to the same end")
  func unwindingWithoutHeader() throws {
    let with = try ELFImage(path: Fixture(.gcc, ["-O2", "-pg"]).build())
    let without = try ELFImage(
      path: Fixture(.gcc, ["-O2", "-pg"], link: ["-Wl,--no-eh-frame-hdr"]).build())
    #expect(!without.segments.contains { $0.type == Segment.Kind.unwindHeader })
    #expect(try without.unwindFunctions().count == with.unwindFunctions().count)
    #expect(try with.unwindFunctions().count > FixtureSource.instrumented.count)
  }

  @Test("an object file's symbols and relocations are read by section")
  func objects() throws {
    let fixture = Fixture(.gcc, ["-O2", "-pg"])
    let image = try ELFImage(path: fixture.buildObject())
    #expect(image.header.fileType == .object)
    #expect(image.executableSegments.isEmpty && image.memorySpan == nil)
    let section = try #require(image.sections(named: ".rela.text").first)
    let symbols = try #require(try image.staticSymbols())
    let relocations = try image.relocations(of: section)
    var calls = 0
    for index in 0..<relocations.count {
      let symbol = try symbols[Int(try relocations[index].symbol)]
      if symbols.isNamed("mcount", symbol) { calls += 1 }
    }
    let facts = try ObjectFacts(object: fixture.buildObject())
    #expect(calls == facts.mcountCalls().filter { $0.function != "main" }.count)
  }

  @Test("segments hold the text, and the span holds the segments", arguments: fixtures)
  func segments(fixture: Fixture) throws {
    let image = try image(fixture)
    let address = try #require(try image.address(ofSymbol: "leaf"))
    let text = try #require(image.segment(containing: address))
    #expect(text.isExecutable && !text.isWritable)
    #expect(image.executableSegments.contains(text))
    let span = try #require(image.memorySpan)
    for segment in image.loadable {
      #expect(
        span.contains(segment.address) && segment.memoryAddresses.upperBound <= span.upperBound)
    }
    #expect(image.fileOffset(ofAddress: span.upperBound, size: 1) == nil)
    #expect(image.fileOffset(ofAddress: text.fileAddresses.upperBound - 4, size: 5) == nil)
    #expect(image.fileOffset(ofAddress: text.fileAddresses.upperBound - 4, size: 4) != nil)
  }
}
