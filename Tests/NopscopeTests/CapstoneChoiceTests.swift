// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// Which Capstone a start of nopscope takes: one that lies before the system's in LD_LIBRARY_PATH.
@Suite struct CapstoneChoiceTests {
  /// The path of this machine's Capstone, and the major version of it.
  private func installed() throws -> (path: String, major: Int) {
    for major in [4, 5] {
      guard dlopen("libcapstone.so.\(major)", RTLD_NOW) != nil else { continue }
      let maps = try String(contentsOfFile: "/proc/self/maps", encoding: .utf8)
      let line = try #require(maps.split(separator: "\n").first { $0.contains("/libcapstone.so") })
      return (String(line[try #require(line.firstIndex(of: "/"))...]), major)
    }
    throw TestSupportError("this machine has no Capstone 4 or 5")
  }

  /// A folder with a libcapstone.so.4 that does what `real` does and says that it is of `version`.
  private func folder(claiming version: Int, real: String) throws -> String {
    let folder = try TemporaryFolder.shared.fresh("claims-\(version)")
    // The functions take at most six words and hand them on.
    let names = [
      "cs_open", "cs_close", "cs_option", "cs_malloc", "cs_free", "cs_strerror", "cs_disasm_iter",
    ]
    let source = """
      #include <dlfcn.h>
      #include <stdint.h>
      typedef uint64_t word;
      static word forward(const char *name, word a, word b, word c, word d, word e, word f) {
        word (*function)(word, word, word, word, word, word) =
          dlsym(dlopen("\(real)", RTLD_NOW), name);
        return function(a, b, c, d, e, f);
      }
      #define FORWARD(name) word name(word a, word b, word c, word d, word e, word f) \\
        { return forward(#name, a, b, c, d, e, f); }
      \(names.map { "FORWARD(\($0))" }.joined(separator: "\n"))
      unsigned cs_version(int *major, int *minor) {
        *major = \(version);
        *minor = 0;
        return (unsigned)*major << 8;
      }
      """
    try source.write(toFile: "\(folder)/shim.c", atomically: true, encoding: .utf8)
    _ = try Tools.run(
      try #require(Tools.find("gcc")),
      ["-shared", "-fPIC", "-o", "\(folder)/libcapstone.so.4", "\(folder)/shim.c"])
    return folder
  }

  private func sites(withLibrariesIn folder: String) throws -> ChildResult {
    let module = try Fixture(.gcc, ["-O1", "-pg"]).build()
    return try runNopscope(["sites", module], environment: ["LD_LIBRARY_PATH": folder])
  }

  @Test("a Capstone that is of the version it says is used")
  func truthful() throws {
    let (real, major) = try installed()
    let result = try sites(withLibrariesIn: folder(claiming: major, real: real))
    #expect(result.ending == .exit(0), "\(result.standardError)")
    #expect(result.output.contains("many_arguments"))
  }

  @Test("a Capstone whose structures are not those of its version is refused, not misread")
  func other() throws {
    let (real, major) = try installed()
    let result = try sites(withLibrariesIn: folder(claiming: 9 - major, real: real))
    #expect(result.ending == .exit(1))
    #expect(result.standardError.contains("it does not decode as its versions 4 and 5 do; "))
  }
}
