// SPDX-License-Identifier: Apache-2.0
//
// Programs under `nopscope record`, each a random one, ended in random ways. The recording is read
// back and compared with what the program counted itself, call for call.

import Glibc
import RecordingReader
import TraceAnalysis

struct RecordedSoak {
  let nopscope: String
  let folder: String
  let tally: SoakTally

  private static let variants: [(compiler: String, flags: [String])] = [
    ("gcc", ["-O2", "-pg"]), ("gcc", ["-O2", "-pg", "-mfentry"]), ("clang", ["-O2", "-pg"]),
    ("gcc", ["-O2", "-fno-ipa-ra", "-fpatchable-function-entry=5"]), ("gcc", ["-O0", "-pg"]),
  ]
  private static let tracers = ["function_graph", "function", "callgraph", "profile", "hits"]
  private static let timeLimit = 120

  /// How a run ends.
  private enum Ending { case byItself, killed, recorderKilled }

  /// Builds the programs in `folder`, which is there and empty.
  func prepare() throws(SoakDeviation) {
    try writeBytes(Array(SoakProgram.source.utf8), to: folder + "/program.c")
    try writeBytes(Array(SoakProgram.pluginSource.utf8), to: folder + "/plugin.c")
    for (index, variant) in Self.variants.enumerated() {
      let place = "\(folder)/\(index)"
      mkdir(place, 0o700)
      for path in 0..<SoakProgram.paths { mkdir("\(place)/\(path)", 0o700) }
      let words = [variant.compiler] + variant.flags + ["-w"]
      try runTool(
        words + ["-rdynamic", folder + "/program.c", "-o", place + "/program", "-ldl", "-pthread"],
        stem: place + "/build")
      for plugin in 0..<SoakProgram.plugins {
        let name = "\(place)/plugin-\(plugin).so"
        try runTool(
          words + [
            "-shared", "-fPIC", "-Wl,--build-id=sha1", "-DNUMBER=\(plugin)", folder + "/plugin.c",
            "-o", name,
          ], stem: place + "/build")
      }
    }
  }

  /// One run; every choice comes from the generator.
  func run(_ generator: inout SoakGenerator) throws(SoakDeviation) {
    let variant = generator.below(Self.variants.count)
    let tracer = Self.tracers[generator.below(Self.tracers.count)]
    let seed = generator.next()
    let actions = 20 + generator.below(200)
    let execs = generator.isOne(in: 4) ? 2 : 0
    let ending: Ending =
      generator.isOne(in: 3) ? (generator.isOne(in: 4) ? .recorderKilled : .killed) : .byItself
    let delay = generator.below(400)
    let place = "\(folder)/\(variant)"
    let counts = try SoakCounts(path: folder + "/counts")
    let recording = folder + "/data"
    removeFolder(recording)
    let words = [
      nopscope, "record", "--tracer", tracer, "-o", recording, "--", place + "/program",
      counts.path, place, "\(seed)", "\(actions)", "\(execs)",
    ]
    do {
      try execute(words, counts, ending, delay)
      try RecordingCheck(recording: recording, counts: counts, tracer: tracer, tally: tally)
        .check(isWhole: ending == .byItself, mayLack: ending == .recorderKilled)
    } catch {
      throw SoakDeviation(
        description: "\(error)\n  command: \(words.joined(separator: " "))\n  ended: \(ending), "
          + "after \(delay) ms where it was killed")
    }
    note(ending, tracer, counts)
  }

  private func note(_ ending: Ending, _ tracer: String, _ counts: SoakCounts) {
    tally.add("recorded runs")
    tally.add("recorded runs, tracer \(tracer)")
    switch ending {
    case .byItself: break
    case .killed: tally.add("recorded runs killed by SIGKILL")
    case .recorderKilled: tally.add("recorded runs whose nopscope was killed by SIGKILL")
    }
    tally.add("recorded runs: loads of a plugin", counts.loads.count)
    tally.add("recorded runs: calls", counts.calls.values.reduce(0) { $0 + $1.inside })
  }

  private func execute(
    _ words: [String], _ counts: SoakCounts, _ ending: Ending, _ delay: Int
  ) throws(SoakDeviation) {
    let process = try SoakProcess(words, stem: folder + "/run")
    if ending != .byItself {
      let deadline = monotonicMilliseconds() + 20_000
      while counts.process == 0, monotonicMilliseconds() < deadline { usleep(500) }
      usleep(UInt32(delay * 1000))
      // Where it had ended before, nothing is killed: a number may be another process's by now.
      let target = ending == .killed ? counts.process : process.identifier
      if !counts.hasFinished, target > 0 { kill(target, SIGKILL) }
    }
    let found = process.wait(seconds: Self.timeLimit)
    if ending == .recorderKilled {
      try awaitOrphan(counts)
    } else if found != .exit(42), !(ending == .killed && found == .signal(SIGKILL)) {
      throw SoakDeviation(
        description: "the recorded program: \(found), expected exit status 42: \(process.errors)")
    }
  }

  /// The program goes on without us.
  private func awaitOrphan(_ counts: SoakCounts) throws(SoakDeviation) {
    let deadline = monotonicMilliseconds() + Self.timeLimit * 1000
    while !counts.hasFinished {
      if monotonicMilliseconds() > deadline {
        kill(counts.process, SIGKILL)
        throw SoakDeviation(
          description: "with nopscope killed, the program did not come to its end")
      }
      usleep(5000)
    }
  }
}

/// Removes a recording: a folder of files, and one of symbols in it.
func removeFolder(_ path: String) {
  guard let folder = opendir(path) else { return }
  defer {
    closedir(folder)
    rmdir(path)
  }
  while let entry = readdir(folder) {
    let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
      String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
    if name == "." || name == ".." { continue }
    if entry.pointee.d_type == UInt8(DT_DIR) {
      removeFolder("\(path)/\(name)")
    } else {
      unlink("\(path)/\(name)")
    }
  }
}
