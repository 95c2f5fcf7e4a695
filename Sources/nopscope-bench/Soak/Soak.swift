// SPDX-License-Identifier: Apache-2.0
//
// The soak: everything at random, under load, with a seed. In turns a child process that patches
// itself (InProcess) and programs that are recorded (Recorded), until the time is over or a check
// fails.

import Glibc
import Synchronization

/// Set by Ctrl-C: the turn is finished, and the table printed.
private let isInterrupted = Atomic<Bool>(false)

/// What was done, and the first deviation.
public struct SoakResult: Sendable {
  /// What brings this run back.
  public var seed: UInt64
  /// How long it was.
  public var seconds: Int
  /// How many turns there were.
  public var rounds: Int
  /// How often what was done.
  public var done: [(what: String, count: Int)]
  /// What should not have happened; nil: nothing.
  public var deviation: String?
}

/// Runs a soak.
public struct Soak {
  /// How long, in all.
  public var seconds: Int
  /// What brings a run back.
  public var seed: UInt64
  /// This program: it is also the child of a turn.
  public var rig: String
  /// The program that records.
  public var nopscope: String
  /// Seconds of a child that patches itself.
  public var turnSeconds = 20
  /// Takes progress, a line each.
  public var say: (String) -> Void

  /// A soak of `nopscope`, a path, for so long.
  public init(
    seconds: Int, seed: UInt64, rig: String, nopscope: String, say: @escaping (String) -> Void
  ) {
    self.seconds = seconds
    self.seed = seed
    self.rig = rig
    self.nopscope = nopscope
    self.say = say
  }

  /// What the child of a turn is started with, behind the name of the sub-command.
  public struct Turn: Sendable {
    /// Where the child leaves what it did.
    public var folder: String
    /// Of this turn.
    public var seed: UInt64
    /// Of this turn.
    public var seconds: Int

    /// A turn in `folder`.
    public init(folder: String, seed: UInt64, seconds: Int) {
      self.folder = folder
      self.seed = seed
      self.seconds = seconds
    }

    /// Runs in this process, which is over afterwards: text on stdout, deviations on stderr.
    public func run() throws {
      let soak = InProcessSoak(
        seed: seed, seconds: seconds, libraries: SoakLibraries(folder: folder + "/libraries"),
        folder: folder)
      try soak.run()
      print(soak.tally.lines, terminator: "")
    }
  }

  /// Runs until the time is over or something deviates. Throws where it could not be run.
  public func run() throws -> SoakResult {
    let began = monotonicMilliseconds()
    let folder = try makeFolder()
    defer { removeFolder(folder) }
    say("building its libraries and programs")
    for name in ["libraries", "recorded", "cache"] { mkdir("\(folder)/\(name)", 0o700) }
    setenv("XDG_CACHE_HOME", folder + "/cache", 1)
    setenv("GMON_OUT_PREFIX", folder + "/gmon", 1)
    _ = try SoakLibraries.make(in: folder + "/libraries")
    let tally = SoakTally()
    let recorded = RecordedSoak(nopscope: nopscope, folder: folder + "/recorded", tally: tally)
    try recorded.prepare()
    var rounds = 0
    var deviation: String?
    let start = monotonicMilliseconds()
    for number in [SIGINT, SIGTERM] {
      signal(number) { _ in isInterrupted.store(true, ordering: .relaxed) }
    }
    while deviation == nil, !isInterrupted.load(ordering: .relaxed),
      monotonicMilliseconds() - start < seconds * 1000
    {
      let left = seconds - (monotonicMilliseconds() - start) / 1000
      do throws(SoakDeviation) {
        try turn(rounds, folder, min(turnSeconds, max(1, left / 2)), recorded, tally)
      } catch { deviation = "round \(rounds): \(error)" }
      rounds += 1
      say("round \(rounds), \(max(0, left)) s left")
    }
    let done = tally.all.sorted { $0.key < $1.key }.map { (what: $0.key, count: $0.value) }
    return SoakResult(
      seed: seed, seconds: (monotonicMilliseconds() - began) / 1000, rounds: rounds, done: done,
      deviation: deviation)
  }

  /// Half of it in a child that patches itself, half of it recordings.
  private func turn(
    _ round: Int, _ folder: String, _ seconds: Int, _ recorded: RecordedSoak, _ tally: SoakTally
  ) throws(SoakDeviation) {
    var generator = SoakGenerator(seed: seed, stream: UInt64(1000 + round))
    let words = [
      rig, "soak", "--child", folder, "--seed", "\(generator.next())", "--seconds", "\(seconds)",
    ]
    let child = try SoakProcess(words, stem: folder + "/child")
    let ending = child.wait(seconds: seconds + 120)
    guard ending == .exit(0) else {
      throw SoakDeviation(
        description: "patching in process: \(ending)\n\(child.errors)\n  command: "
          + words.joined(separator: " "))
    }
    tally.addLines(of: child.output)
    let until = monotonicMilliseconds() + seconds * 1000
    while monotonicMilliseconds() < until, !isInterrupted.load(ordering: .relaxed) {
      try recorded.run(&generator)
    }
  }

  private func makeFolder() throws(SoakDeviation) -> String {
    let parent = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
    var template = Array("\(parent)/nopscope-soak.XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else {
      throw SoakDeviation(
        description: "\(parent): cannot make a folder there: \(String(cString: strerror(errno)))")
    }
    return String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
  }
}
