// SPDX-License-Identifier: Apache-2.0

import CMachineCode
import Foundation
import TestSupport
import Testing

@testable import MachineCode

/// Which libraries are taken for Capstone, and what is said when none is.
@Suite struct CapstoneTests {
  private func reason(toRefuse names: [String]) -> String? {
    var reason = [CChar](repeating: 0, count: 512)
    let texts = names.map { UnsafePointer(strdup($0)) } + [nil]
    defer { for text in texts { free(UnsafeMutablePointer(mutating: text)) } }
    if nmc_can_load_capstone(texts, &reason, reason.count) { return nil }
    return String(decoding: reason.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// A library with Capstone's names that says it is of version `major`.1.
  private func imitation(ofVersion major: Int) throws -> String {
    let folder = try TemporaryFolder.shared.fresh("capstone-\(major)")
    let names = [
      "cs_open", "cs_close", "cs_option", "cs_malloc", "cs_free", "cs_strerror", "cs_disasm_iter",
    ]
    let source = """
      int cs_version(int *major, int *minor) { *major = \(major); *minor = 1; return 0; }
      \(names.map { "void \($0)(void) {}" }.joined(separator: "\n"))
      """
    try source.write(toFile: "\(folder)/fake.c", atomically: true, encoding: .utf8)
    let library = "\(folder)/libcapstone.so"
    let gcc = try #require(Tools.find("gcc"))
    _ = try Tools.run(gcc, ["-shared", "-fPIC", "-o", library, "\(folder)/fake.c"])
    return library
  }

  @Test("the first library that can be used is taken, whatever cannot be stands before it")
  func firstThatWorks() throws {
    #expect(reason(toRefuse: ["libNoSuch.so.1", "libcapstone.so.4", "libcapstone.so.5"]) == nil)
  }

  @Test("each library that is refused is named with its reason")
  func refusals() throws {
    let text = try #require(reason(toRefuse: ["libNoSuch.so.1", "libm.so.6"]))
    #expect(text.hasPrefix("libNoSuch.so.1: cannot open shared object file"))
    #expect(text.contains("; "))
    #expect(text.hasSuffix("undefined symbol: cs_version"))
  }

  @Test("the library's own word for its version counts", arguments: [3, 4, 5, 6])
  func versions(major: Int) throws {
    let library = try imitation(ofVersion: major)
    let expected = "\(library) is Capstone \(major).1: expected 4 or 5"
    #expect(reason(toRefuse: [library]) == (major == 4 || major == 5 ? nil : expected))
  }

  @Test("the advice names the package that the release has")
  func advice() {
    func advice(_ id: String, _ version: String) -> String {
      CapstonePackage.advice(forRelease: "NAME=\"Any\"\nVERSION_ID=\"\(version)\"\nID=\(id)\n")
    }
    #expect(advice("debian", "12") == "apt-get install libcapstone4")
    #expect(advice("debian", "13") == "apt-get install libcapstone5")
    #expect(advice("ubuntu", "24.04") == "apt-get install libcapstone4")
    for text in [advice("ubuntu", "26.04"), advice("fedora", "42"), ""] where !text.isEmpty {
      #expect(text.contains("libcapstone4, libcapstone5"))
    }
    // Debian testing has no VERSION_ID.
    #expect(CapstonePackage.advice(forRelease: "ID=debian\n") == "apt-get install libcapstone5")
    #expect(DecoderUnavailable(reason: "why").description.contains("here: why; "))
  }
}
