// SPDX-License-Identifier: Apache-2.0

import ELFImage
import Foundation
import TestSupport
import Testing

/// `nopscope sites`, as a user runs it.
@Suite struct SitesCommandTests {
  static let fixtures: [(Fixture, form: String, kind: String, length: Int)] = [
    (Fixture(.clang, ["-O2", "-pg"]), "e8", "mcount", 5),
    (Fixture(.gcc, ["-O2", "-pg", "-mfentry"]), "ff15", "fentry", 6),
    (
      Fixture(.gcc, ["-O2", "-pg", "-fPIC", "-mfentry"], as: .staticExecutable), "67e8", "fentry", 6
    ),
    (Fixture(.gcc, ["-O2", "-fpatchable-function-entry=5"]), "nop1x5", "patchable", 5),
    (Fixture(.clang, ["-O2", "-fpatchable-function-entry=5"]), "nop5", "patchable", 5),
    (Fixture(.clang, ["-O2", "-fpatchable-function-entry=6"]), "nop6", "patchable", 6),
  ]

  @Test("--json is the documented schema, key by key", arguments: fixtures)
  func json(fixture: Fixture, form: String, kind: String, length: Int) throws {
    let path = try fixture.build()
    let result = try runNopscope(["sites", path, "--json"])
    #expect(result.ending == .exit(0))
    #expect(result.standardError == "")
    let document = try jsonObject(result.standardOutput)
    #expect(Set(document.keys) == ["schema", "file", "buildID", "sites", "skipped"])
    #expect(document["schema"] as? String == "nopscope.sites/1")
    #expect(document["file"] as? String == path)
    let buildID = try #require(try ELFImage(path: path).buildID)
    #expect(document["buildID"] as? String == buildID.map { String(format: "%02x", $0) }.joined())
    #expect((document["skipped"] as? [Any])?.isEmpty == true)
    let sites = try #require(document["sites"] as? [[String: Any]])
    #expect(sites.count >= FixtureSource.instrumented.count)
    for site in sites {
      #expect(Set(site.keys) == ["offset", "length", "form", "kind", "function", "linkedName"])
      #expect(site["form"] as? String == form)
      #expect(site["kind"] as? String == kind)
      #expect(site["length"] as? Int == length)
    }
    let functions = Set(sites.compactMap { $0["function"] as? String })
    #expect(functions.isSuperset(of: FixtureSource.instrumented))
    #expect(result.output.contains(path), "slashes are not escaped")
  }

  @Test("what is unknown is null: a function's name in a stripped file, a missing build-id")
  func nulls() throws {
    let fixture = Fixture(.clang, ["-O2", "-pg"], link: ["-Wl,--build-id=none"])
    let stripped = try TemporaryFolder.shared.fresh("stripped") + "/a.out"
    try Tools.run("strip", ["-s", fixture.build(), "-o", stripped])
    let document = try jsonObject(runNopscope(["sites", stripped, "--json"]).standardOutput)
    #expect(document["buildID"] is NSNull)
    let sites = try #require(document["sites"] as? [[String: Any]])
    #expect(sites.filter { $0["function"] is NSNull }.count == 1)  // the static one
  }

  @Test("a Capstone that cannot be loaded is one line")
  func noCapstone() throws {
    let folder = try TemporaryFolder.shared.fresh("capstone")
    var reasons = ""
    for version in 4...5 {
      let library = "\(folder)/libcapstone.so.\(version)"
      try "not a library".write(toFile: library, atomically: true, encoding: .utf8)
      reasons += "\(library): file too short; "
    }
    let result = try runNopscope(
      ["sites", try Self.fixtures[0].0.build()], environment: ["LD_LIBRARY_PATH": folder])
    #expect(result.ending == .exit(1))
    let line = result.standardError
    let start = "nopscope: Capstone cannot decode x86-64 here: " + reasons
    #expect(line.hasPrefix(start))
    // What helps depends on the release: CapstoneTests.
    #expect(line.dropFirst(start.count).contains("libcapstone"))
    #expect(line.filter { $0 == "\n" }.count == 1 && line.hasSuffix("\n"))
  }

  @Test("skipped places are in the JSON and in --skipped, with the reason")
  func skipped() throws {
    let fixture = Fixture(.clang, ["-O2", "-pg", "-fpatchable-function-entry=8"])
    let document = try jsonObject(
      runNopscope(["sites", fixture.build(), "--json"]).standardOutput)
    let skipped = try #require(document["skipped"] as? [[String: Any]])
    #expect(skipped.count == FixtureSource.instrumented.count + 1)
    for place in skipped {
      #expect(Set(place.keys) == ["offset", "reason"])
      #expect((place["reason"] as? String)?.contains("longer than 6 bytes") == true)
    }
    let text = try runNopscope(["sites", fixture.build(), "--skipped"])
    #expect(text.output.split(separator: "\n").count == skipped.count)
    #expect(text.standardError == "11 sites (11 e8), 12 skipped\n")
  }

  @Test("the table is aligned, on stdout; the closing line is on stderr")
  func table() throws {
    let result = try runNopscope(["sites", Fixture(.clang, ["-O2", "-pg"]).build()])
    #expect(result.ending == .exit(0))
    #expect(result.standardError == "11 sites (11 e8), 0 skipped\n")
    let lines = result.output.split(separator: "\n")
    #expect(lines.count == 12)
    let header = try #require(lines.first)
    for name in ["LEN", "FORM", "KIND", "FUNCTION"] {
      let column = try #require(header.range(of: name)).lowerBound
      let place = header.distance(from: header.startIndex, to: column)
      for line in lines.dropFirst() {
        let index = line.index(line.startIndex, offsetBy: place)
        #expect(line[index] != " " && line[line.index(before: index)] == " ")
      }
    }
  }

  @Test(
    "--names: names are short, full or as the file has them; JSON has the linked name beside them")
  func names() throws {
    let source = """
      template <class T> struct Pool { T *slot; __attribute__((noinline)) int run(T *); };
      template <class T> int Pool<T>::run(T *one) { slot = one; return 1; }
      extern "C" int use(Pool<int> *pool, int *one) { return pool->run(one) + 1; }
      """
    let path = try Fixture(
      .gcc, ["-O1", "-fno-inline", "-pg", "-fPIC", "-x", "c++"], as: .sharedObject, source: source
    ).build()
    for (style, name) in [
      ("short", "Pool::run"), ("full", "Pool<int>::run(int*)"), ("linked", "_ZN4PoolIiE3runEPi"),
    ] {
      let text = try runNopscope(["sites", path, "--names", style])
      #expect(text.output.contains("  \(name)+0x"), "\(style): \(text.output)")
      let document = try jsonObject(
        runNopscope(["sites", path, "--json", "--names", style]).standardOutput)
      let sites = try #require(document["sites"] as? [[String: Any]])
      #expect(
        sites.contains {
          $0["function"] as? String == name && $0["linkedName"] as? String == "_ZN4PoolIiE3runEPi"
        })
    }
    let standard = try runNopscope(["sites", path]).output
    #expect(standard == (try runNopscope(["sites", path, "--names", "short"]).output))
  }

  @Test("names cannot drive the terminal")
  func hostileNames() throws {
    // No assembler takes such a name: it is written into the linked file.
    let source = "__attribute__((noinline)) int hostile__name(void) { return 1; }"
    let fixture = Fixture(.gcc, ["-O2", "-pg"], link: ["-nostdlib"], source: source)
    var file = try Data(contentsOf: URL(fileURLWithPath: fixture.build()))
    while let name = file.range(of: Data("hostile__name".utf8)) {
      file.replaceSubrange(name, with: Data("a\u{1b}[31mb\n\u{7f}\u{202e}z".utf8))
    }
    let path = try TemporaryFolder.shared.fresh("hostile") + "/libfoo.so"
    try file.write(to: URL(fileURLWithPath: path))
    let result = try runNopscope(["sites", path])
    #expect(result.output.contains("a\\x1b[31mb\\x0a\\x7f\\u{202e}z+0x4\n"))
    #expect(!result.standardOutput.contains(0x1b))
    let missing = try runNopscope(["sites", "/no/such\u{1b}[31m\nfile"])
    #expect(
      missing.standardError
        == "nopscope: /no/such\\x1b[31m\\x0afile: cannot open: No such file or directory\n")
  }

  @Test("a file without call sites is an error that says how to get some")
  func noSites() throws {
    let path = try Fixture(.gcc, ["-O2"]).build()
    for arguments in [["sites", path], ["sites", path, "--json"], ["recordmcount", path]] {
      let result = try runNopscope(arguments)
      #expect(result.ending == .exit(1))
      #expect(
        result.standardError
          == "nopscope: \(path): no call sites found: compile with -pg or "
          + "-fpatchable-function-entry=5\n")
    }
  }

  @Test(
    "bad input is one line on stderr and exit status 1",
    arguments: [
      ("text", "#!/bin/sh\necho\n", "not an ELF file"),
      ("empty", "", "not an ELF file"),
      ("class", "\u{7f}ELF\u{1}\u{1}\u{1}aaaaaaaaaaaaaaaaa", "expected a 64-bit ELF file"),
      ("cut", "\u{7f}ELF\u{2}\u{1}\u{1}", "the file is truncated or damaged"),
    ])
  func badInput(name: String, contents: String, message: String) throws {
    let path = try TemporaryFolder.shared.fresh("bad") + "/" + name
    try contents.write(toFile: path, atomically: false, encoding: .utf8)
    for command in ["sites", "recordmcount"] {
      let result = try runNopscope([command, path])
      #expect(result.ending == .exit(1))
      #expect(result.output == "")
      #expect(result.standardError.hasPrefix("nopscope: \(path): "))
      #expect(result.standardError.contains(message))
      #expect(result.standardError.split(separator: "\n").count == 1)
    }
    #expect(try String(contentsOfFile: path, encoding: .utf8) == contents)
  }

  @Test(
    "a wrong command line is exit status 64", arguments: [["sites"], ["sites", "a", "--nope"]])
  func usage(arguments: [String]) throws {
    #expect(try runNopscope(arguments).ending == .exit(64))
  }
}
