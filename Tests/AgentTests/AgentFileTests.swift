// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// The built agent: what it needs, what it shows, what it may touch.
@Suite struct AgentFileTests {
  static let agent = Tools.productFolder + "/libNopscopeAgent.so"

  private func lines(_ tool: String, _ arguments: [String]) throws -> [String] {
    try Tools.run(tool, arguments).split(separator: "\n").map(String.init)
  }

  @Test("It needs libc and nothing else")
  func needed() throws {
    let needed = try lines("readelf", ["-dW", Self.agent]).filter { $0.contains("(NEEDED)") }
    #expect(needed.count == 1)
    #expect(needed.allSatisfy { $0.contains("[libc.so.6]") })
  }

  @Test("The range of hooked returns is address space alone, outside of what can be written")
  func frames() throws {
    let file = Tools.productFolder + "/libNopscopeTrampolines.so"
    let segments = try lines("readelf", ["-lW", file]).filter { $0.contains("LOAD") }
      .map { $0.split(separator: " ").map(String.init) }
    // Type, offset, address, physical address, size in the file, size in memory, flags.
    let range = try #require(segments.first { $0[5] == "0xfe000000" })
    #expect(range[4] == "0x000000")
    #expect(range[6] == "R")
    #expect(segments.count { $0[5].count > 8 } == 1)
    let rules = try lines("readelf", ["--debug-dump=frames", file])
    #expect(rules.contains { $0.contains("DW_OP_breg7") })
    // Loaded before libc is initialised, it must not have libc initialised for its sake.
    #expect(!(try lines("readelf", ["-dW", file]).contains { $0.contains("NEEDED") }))
  }

  @Test("It exports what instrumented programs call, and nothing else")
  func exports() throws {
    let names = try lines("nm", ["-D", "--defined-only", Self.agent])
      .filter {
        $0.contains(" T ") || $0.contains(" D ") || $0.contains(" B ") || $0.contains(" W ")
      }
      .compactMap { $0.split(separator: " ").last.map(String.init) }
    #expect(
      Set(names)
        == [
          "mcount", "_mcount", "__fentry__", "__monstartup", "monstartup", "_mcleanup", "clone",
          "longjmp", "_longjmp", "siglongjmp", "__longjmp_chk", "prctl", "pthread_setname_np",
          "syscall",
          "execl", "execle", "execlp", "execv", "execve", "execveat", "execvp", "execvpe",
          "fexecve",
          "popen", "posix_spawn", "posix_spawnp", "system", "nopscope_visit",
        ])
  }

  @Test("It brings what compilers call to copy and clear: libc's use vector registers")
  func memory() throws {
    let names = try lines("nm", ["-D", "--undefined-only", Self.agent])
      .compactMap { $0.split(separator: " ").last?.prefix { $0 != "@" } }
    #expect(names.contains("dl_iterate_phdr"))  // the search finds something
    #expect(Set(names).isDisjoint(with: ["memcpy", "memmove", "memset", "memcmp", "bcmp"]))
  }

  /// The files that each file of the agent needs, by the symbols of its object.
  private func needs() throws -> [String: Set<String>] {
    let objects = Tools.productFolder + "/Agent.build"
    let sources =
      URL(fileURLWithPath: #filePath).deletingLastPathComponent().path
      + "/../../CSupport/Agent"
    var owner: [String: String] = [:]
    var wanted: [String: [String]] = [:]
    for file in try FileManager.default.contentsOfDirectory(atPath: sources)
    where file.hasSuffix(".c") || file.hasSuffix(".S") {
      for line in try lines("nm", ["\(objects)/\(file).o"]) {
        let words = line.split(separator: " ").map(String.init)
        if words.count == 2, words[0] == "U" { wanted[file, default: []].append(words[1]) }
        if words.count == 3, words[1].allSatisfy(\.isUppercase) { owner[words[2]] = file }
      }
    }
    return wanted.mapValues { Set($0.compactMap { owner[$0] }) }
  }

  @Test("Its files call one another one way")
  func direction() throws {
    var needs = try needs()
    #expect(needs["session.c"]?.contains("modules.c") == true)  // the search finds something
    #expect(needs["shadow.c"]?.contains("orphaned_returns.c") == true)
    // What needs nothing that is left can be taken away; a circle stays.
    while let (file, _) = needs.first(where: { file, others in
      others.allSatisfy { $0 == file || needs[$0] == nil }
    }) {
      needs[file] = nil
    }
    #expect(needs.isEmpty, "\(needs)")
  }

  @Test("It is initialised first")
  func first() throws {
    let flags = try lines("readelf", ["-dW", Self.agent]).filter { $0.contains("(FLAGS_1)") }
    #expect(flags.first?.contains("INITFIRST") == true)
  }

  /// Functions that may: they save the vector registers around a call into libc or from ld.so, or only
  /// read them.
  static let allowed: Set<String> = ["nag_with_vectors", "npc_loader_entry", "nag_vector"]

  @Test("It touches no vector or x87 register but where it saves them")
  func registers() throws {
    var function = ""
    var offenders: Set<String> = []
    for line in try lines("objdump", ["-d", "--no-show-raw-insn", Self.agent]) {
      if line.hasSuffix(">:") {
        function = String(line.split(separator: "<").last?.dropLast(2) ?? "")
      } else if line.contains("mm") && line.contains("%") || line.contains("%st") {
        let isVector = ["%xmm", "%ymm", "%zmm", "%mm", "%st"].contains { line.contains($0) }
        if isVector { offenders.insert(function) }
        if isVector, function == "nag_vector" { #expect(line.hasSuffix(",%rax"), "\(line)") }
      } else if line.contains("xsave") || line.contains("xrstor") || line.contains("fxsave") {
        offenders.insert(function)
      }
    }
    #expect(offenders.isSubset(of: Self.allowed), "\(offenders)")
    #expect(!offenders.isEmpty)  // the search finds something
  }
}
