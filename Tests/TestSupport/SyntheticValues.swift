// SPDX-License-Identifier: Apache-2.0

extension SyntheticRecording {
  /// One thread: `main` calls `handle(int id, char *name, enum mode mode, double d, void *p, struct s)`
  /// twice, and `leaf()`, which has no signature.
  public static func withValues() -> SyntheticRecording {
    var module = SyntheticModule("/bin/app", functions: ["main", "handle", "leaf"])
    module.signatures = """
      nopscope.args 1 1 1
      SLOW=0\tFAST=7
      1\ti4\ti4\tid\ts\tname\tE4:0\tmode\tf8\td\tp\tp\t{\ts

      """
    let base: UInt64 = 1_000_000
    func word(_ number: UInt64, _ count: Int) -> [UInt8] {
      (0..<count).map { UInt8(truncatingIfNeeded: number >> UInt64(8 * $0)) }
    }
    let chunk = SyntheticChunk { encoder in
      encoder.entry(0, at: base)
      for (index, id) in [42, UInt64(bitPattern: -1)].enumerated() {
        let start = base + 100_000 * UInt64(index + 1)
        let name = index == 0 ? [5] + Array("alice".utf8) : [0x83] + Array("b\"\n".utf8)
        encoder.values(
          1, moment: 0,
          [4] + word(id, 4) + name + [4] + word(index == 0 ? 7 : 9, 4)
            + (index == 0 ? [8] + word((2.5).bitPattern, 8) : [0xff]) + [8]
            + word(0x7fff_0000_1000, 8))
        encoder.entry(1, at: start)
        encoder.call(2, from: start + 10, to: start + 20)
        encoder.values(1, moment: 1, [4] + word(UInt64(bitPattern: Int64(-index)), 4))
        encoder.exit(at: start + 1000 * UInt64(index + 1))
      }
      encoder.exit(at: base + 1_000_000)
    }
    return SyntheticRecording(
      processes: [SyntheticProcess(modules: [module], chunks: [chunk])])
  }
}
