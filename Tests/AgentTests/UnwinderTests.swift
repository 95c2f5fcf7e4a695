// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// Exceptions through hooked frames under an unwinder that is not libgcc's.
@Suite struct UnwinderTests {
  static let hasLibcxx = FileManager.default.fileExists(atPath: "/usr/include/c++/v1/string")

  static let variants = Variant.all.filter { $0.compiler == .clang }

  /// LLVM's libunwind takes a trampoline for the frame behind it.
  @Test(
    "LLVM's libunwind finds the frame that catches",
    .enabled(if: hasLibcxx, "libc++'s headers are not here: apt install libc++-dev"),
    arguments: ["exceptions.cpp", "caught_tails.cpp"], variants)
  func catches(source: String, variant: Variant) throws {
    let program = try Program(source: source, variant: variant, extra: ["-stdlib=libc++"]).build()
    #expect(try Tools.run("ldd", [program]).contains("libunwind.so.1"))
    let plain = try runChild(program)
    #expect(plain.ending == .exit(0))
    for tracer in everyTracer {
      let traced = try TracedRun(program, options: ["--tracer", tracer])
      #expect(traced.result.ending == .exit(0), "\(tracer): \(traced.result.standardError)")
      #expect(traced.result.output == plain.output)
      for (name, count) in statedCalls(plain.output) {
        #expect(traced.calls[name] == count, "\(name), \(tracer)")
      }
      #expect(traced.recording.complaints.prefix(3) == [])
    }
  }
}
