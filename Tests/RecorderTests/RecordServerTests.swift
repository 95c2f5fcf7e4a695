// SPDX-License-Identifier: Apache-2.0

import CPatchCore
import CRecorder
import CRecordingABI
import ELFImage
import Filters
import Foundation
import TestSupport
import Testing
import TextFormat
import Units

@testable import Recorder

/// The recorder's answers to an agent that behaves.
@Suite struct RecordServerTests {
  static let fixture = Fixture(.gcc, ["-O2", "-pg"])

  func buildID(_ path: String) throws -> [UInt8] {
    try #require(try ELFImage(path: path).buildID)
  }

  @Test("HELLO is answered with the configuration and a place in the arena")
  func hello() throws {
    var options = RecordOptions()
    options.tracer = .profile
    options.maximumDepth = 7
    options.thresholdNanoseconds = 1_000_000
    options.overwriteBytes = 1 << 20
    options.filter = SiteFilter(graph: [try FilterRule("main")])
    let bench = try ServerBench(options)
    let agent = try bench.join()
    let config = try #require(agent.config)
    #expect(config.version == UInt32(NREC_MESSAGE_VERSION))
    #expect(config.tracer == UInt32(NREC_TRACER_PROFILE))
    #expect(config.flags == UInt32(NREC_FLAG_OVERWRITE))
    #expect(config.overwrite_bytes == 1 << 20)
    #expect(config.maximum_depth == 7)
    #expect(config.only_in_graph == 1)
    #expect(config.incarnation == 0)
    let ticks = try #require(try bench.session()["ticksPerSecond"] as? Double)
    #expect(abs(Double(config.threshold) * 2000 / ticks - 1) < 0.01)
    let name = "\(agent.process)-0.events"
    var file = stat()
    #expect(stat(bench.path + "/" + name, &file) == 0)
    #expect(file.st_mode & 0o777 == 0o600)
    #expect(file.st_size == 4096, "room for its header")
    // What the agent fills of the header is written with what the recorder knows.
    agent.header.pointee.calls = 11
    agent.end()
    bench.serve()
    #expect(bench.server.activeProcesses == 0)
    let bytes = try Data(contentsOf: URL(fileURLWithPath: bench.path + "/" + name))
    let header = bytes.withUnsafeBytes { $0.loadUnaligned(as: nrec_file_header.self) }
    #expect(header.calls == 11 && header.next_offset == 4096)
    #expect(header.process == agent.process && header.parent == getpid())
  }

  @Test("session.json has every documented key, before, while and after")
  func session() throws {
    let bench = try ServerBench()
    let empty = try bench.session()
    #expect(
      Set(empty.keys) == [
        "schema", "version", "command", "tracer", "options", "startRealtimeNanoseconds",
        "ticksPerSecond",
        "timeShift", "host", "ended", "exitStatus",
      ])
    #expect(empty["schema"] as? String == "nopscope.recording/1")
    #expect(empty["command"] as? [String] == ["./prog", "a\"b"])
    #expect(empty["tracer"] as? String == "function_graph")
    #expect(empty["ended"] as? Bool == false)
    #expect(empty["exitStatus"] is NSNull)
    #expect(empty["timeShift"] as? Int == NREC_TIME_SHIFT)
    let agent = try bench.join()
    let process = try #require(try bench.processes().first)
    #expect(process["pid"] as? Int32 == agent.process)
    #expect(process["incarnation"] as? Int == 0)
    #expect(process["parent"] as? Int32 == getpid())
    #expect(process["begin"] as? String == "start")
    #expect(process["events"] as? String == "\(agent.process)-0.events")
    #expect(process["modules"] as? String == "\(agent.process)-0.modules")
    let own = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().path
    #expect(process["program"] as? String == own)
    bench.server.finish(exitStatus: 3)
    #expect(try bench.session()["ended"] as? Bool == true)
    #expect(try bench.session()["exitStatus"] as? Int == 3)
    // Only its owner can read the recording.
    for (name, mode) in [("", 0o700), ("/symbols", 0o700), ("/session.json", 0o600)] {
      var status = stat()
      #expect(stat(bench.path + name, &status) == 0)
      #expect(Int(status.st_mode) & 0o777 == mode)
    }
  }

  @Test("two builds of one build-id have their names each, and a file that comes again the same")
  func sameBuildID() throws {
    let bench = try ServerBench()
    let agent = try bench.join()
    let id: [UInt8] = [0x12, 0x34]
    let paths = try ["first", "second"].map { name in
      try Fixture(
        .gcc, ["-O2", "-pg"], link: ["-Wl,--build-id=0x1234"],
        source: "int \(name)(int a) { return a + 1; }"
      ).build()
    }
    for (index, path) in (paths + paths).enumerated() {
      let generation = UInt32(index + 1)
      let (plan, _) = try bench.load(agent, path, buildID: id, generation: generation)
      agent.applied(generation, armed: plan.count)
      bench.serve()
    }
    let lines = try bench.lines("\(agent.process)-0.modules")
    let files = try lines.map { line in
      let load = try #require(line["load"] as? [String: Any])
      return load["symbols"] as? String ?? "1234"
    }
    #expect(files[0] == "1234" && files[1] != "1234")
    #expect(files[2] == files[0] && files[3] == files[1])
    for (file, name) in zip(files, ["first", "second"]) {
      let text = try String(contentsOfFile: "\(bench.path)/symbols/\(file)", encoding: .utf8)
      #expect(text.hasSuffix("\t\(name)\n"))
    }
  }

  @Test("a module that finds no function numbers left is left alone, and said to be")
  func noNumbersLeft() throws {
    let path = try Self.fixture.build()
    let bench = try ServerBench()
    let agent = try bench.join()
    bench.server.latest[agent.process]?.nextFunction = UInt32.max - 2
    let (plan, entries) = try bench.load(agent, path, buildID: try buildID(path), generation: 1)
    #expect(plan.count == 0 && entries.isEmpty)
    let load = try #require(try bench.lines("\(agent.process)-0.modules").first?["load"])
    let status = (load as? [String: Any])?["status"] as? String
    #expect(status == "left alone: the process has no numbers left for its functions")
    #expect(bench.server.warnings.contains { $0.contains("no numbers left") })
  }

  @Test("a module is answered with a plan; what became of it is written down")
  func module() throws {
    let path = try Self.fixture.build()
    let id = try buildID(path)
    let bench = try ServerBench()
    let agent = try bench.join()
    let (plan, entries) = try bench.load(agent, path, buildID: id, generation: 1)
    #expect(plan.first_function == 0)
    #expect(entries.count == FixtureSource.instrumented.count)
    #expect(entries.map(\.function) == Array(0..<plan.count))
    #expect(try bench.lines("\(agent.process)-0.modules").isEmpty)
    agent.applied(1, armed: plan.count)
    agent.gone(1)
    bench.serve()
    let lines = try bench.lines("\(agent.process)-0.modules")
    #expect(lines.count == 2)
    let load = try #require(lines.first?["load"] as? [String: Any])
    #expect(
      Set(load.keys) == [
        "generation", "path", "buildID", "loadBias", "textStart", "textEnd", "time",
        "firstFunction", "sites", "armed", "unwanted", "skipped", "skippedReasons", "status",
        "plan",
      ])
    #expect(load["path"] as? String == path)
    #expect(load["buildID"] as? String == hexDigits(id))
    #expect(load["armed"] as? Int == entries.count)
    #expect(load["status"] as? String == "ok")
    #expect(load["plan"] as? String == "\(entries.count)a")
    let unload = try #require(lines.last?["unload"] as? [String: Any])
    #expect(unload["generation"] as? Int == 1)
    #expect(unload["time"] as? Int == 900)
    let symbols = try String(
      contentsOfFile: bench.path + "/symbols/" + hexDigits(id), encoding: .utf8)
    let rows = symbols.split(separator: "\n")
    #expect(rows.first == "nopscope.symbols 1 \(entries.count) \(path)")
    for (row, entry) in zip(rows.dropFirst(), entries) {
      let fields = row.split(separator: "\t", omittingEmptySubsequences: false)
      #expect(fields.count == 3)
      #expect(UInt64(fields[0], radix: 16) == entry.offset)
      #expect(UInt8(fields[1]) == entry.flags)
      #expect(FixtureSource.instrumented.contains(String(fields[2])))
    }
  }

  @Test("numbers go on from module to module, and a generation that comes again has new ones")
  func numbers() throws {
    let path = try Self.fixture.build()
    let id = try buildID(path)
    let bench = try ServerBench()
    let agent = try bench.join()
    let first = try bench.load(agent, path, buildID: id, generation: 1).plan
    agent.gone(1)
    let other = try bench.load(agent, "/etc/passwd", buildID: [], generation: 2).plan
    #expect(other.count == 0)
    let second = try bench.load(agent, path, buildID: id, generation: 3).plan
    #expect(second.first_function == first.count)
    #expect(second.count == first.count)
    let refused = try bench.lines("\(agent.process)-0.modules").compactMap {
      $0["load"] as? [String: Any]
    }.first { $0["generation"] as? Int == 2 }
    #expect((refused?["status"] as? String)?.contains("not an ELF file") == true)
    #expect(refused?["buildID"] is NSNull)
  }

  @Test("what the patch core says is in the module's status, in words")
  func status() throws {
    let path = try Self.fixture.build()
    let bench = try ServerBench()
    let agent = try bench.join()
    _ = try bench.load(agent, path, buildID: try buildID(path), generation: 1)
    agent.applied(1, armed: 0, status: 7, error: EACCES)
    bench.serve()
    let load = try #require(
      try bench.lines("\(agent.process)-0.modules").first?["load"] as? [String: Any])
    #expect(
      load["status"] as? String
        == "its text cannot be written, at 0x1a30: Permission denied")
    #expect(load["armed"] as? Int == 0)
    #expect(bench.server.warnings.count == 1)
  }

  @Test("every status of the patch core has words of its own")
  func statuses() {
    var seen: Set<String> = []
    for status in NPC_OK...NPC_STALE {
      var applied = nrec_applied()
      applied.status = Int32(status)
      seen.insert(ApplyStatus.text(applied))
    }
    #expect(seen.count == NPC_STALE + 1)
    #expect(!seen.contains { $0.hasPrefix("refused with status") })
  }

  @Test("a file that was replaced after it was loaded is left alone")
  func replaced() throws {
    let path = try Self.fixture.build()
    let bench = try ServerBench()
    let agent = try bench.join()
    let plan = try bench.load(agent, path, buildID: [1, 2, 3], generation: 1).plan
    #expect(plan.count == 0)
    let missing = try bench.load(agent, "/no/such/lib.so", buildID: [1], generation: 2).plan
    #expect(missing.count == 0)
    let states = try bench.lines("\(agent.process)-0.modules").compactMap {
      ($0["load"] as? [String: Any])?["status"] as? String
    }
    #expect(states.first?.contains("expected build-id 010203, found") == true)
    #expect(states.last?.contains("No such file or directory") == true)
  }

  @Test("a module whose unload was not reported is settled when its process ends")
  func settling() throws {
    let path = try Self.fixture.build()
    let bench = try ServerBench()
    let agent = try bench.join()
    _ = try bench.load(agent, path, buildID: try buildID(path), generation: 1)
    agent.end()
    bench.serve()
    let load = try #require(
      try bench.lines("\(agent.process)-0.modules").first?["load"] as? [String: Any])
    #expect((load["status"] as? String)?.hasPrefix("not confirmed") == true)
    #expect(load["armed"] as? Int == 0)
  }

  @Test("many clients are served at once, each image with files of its own")
  func many() throws {
    let bench = try ServerBench()
    let agents = try (0..<100).map { _ in try FakeAgent(bench.server) }
    while bench.server.tracedProcesses < 100 { bench.server.loop.turn(milliseconds: -1) }
    var places: Set<UInt32> = []
    var images: Set<UInt32> = []
    for agent in agents {
      let config = try #require(try agent.receiveConfig())
      places.insert(config.place)
      images.insert(config.image)
    }
    #expect(places.count == 100 && images.count == 100)
    bench.server.finish(exitStatus: 0)
    #expect(try bench.processes().count == 100)
    #expect(bench.server.warnings.isEmpty)
  }

  @Test("a process that joins is a line of its own at once, and session.json stays as it is")
  func manyProcesses() throws {
    let bench = try ServerBench()
    func file() -> ino_t {
      var status = stat()
      return stat(bench.path + "/session.json", &status) == 0 ? status.st_ino : 0
    }
    let first = file()
    // Written once more, when the clock's rate is known.
    for _ in 0..<100 where file() == first { bench.server.loop.turn(milliseconds: 20) }
    let second = file()
    #expect(second != first)
    var agents: [FakeAgent] = []
    for count in [1, 20, 40] {
      while agents.count < count {
        agents.append(try FakeAgent(bench.server))
      }
      while bench.server.tracedProcesses < count { bench.server.loop.turn(milliseconds: -1) }
      #expect(try bench.processes().count == count)
    }
    #expect(file() == second)
  }

  @Test("only the processes that ended last keep their modules")
  func endedProcesses() throws {
    var ended = EndedProcesses()
    let processes = (0..<(EndedProcesses.kept + 2)).map { number in
      let process = TracedProcess(
        process: 1, parent: 0, startTime: ClockUnits(0), incarnation: UInt32(number), program: "")
      ended.add(process)
      return process
    }
    #expect(processes.prefix(3).map(\.isForgotten) == [true, true, false])
    #expect(processes.count(where: \.isForgotten) == 2)
  }

  /// Without a descriptor to spare the recorder accepts no new connections.
  @Test("a process waits for its connection as long as there is no descriptor for it")
  func waiting() async {
    await #expect(processExitsWith: .success) {
      let bench = try ServerBench()
      let agent = try FakeAgent(bench.server)
      let spare = dup(0)
      close(spare)
      var limit = rlimit()
      let descriptors = __rlimit_resource_t(7)  // RLIMIT_NOFILE
      try #require(getrlimit(descriptors, &limit) == 0)
      let before = limit.rlim_cur
      limit.rlim_cur = rlim_t(spare)
      try #require(setrlimit(descriptors, &limit) == 0)
      for _ in 0..<10 { bench.server.loop.turn(milliseconds: 10) }
      #expect(bench.server.tracedProcesses == 0)
      limit.rlim_cur = before
      try #require(setrlimit(descriptors, &limit) == 0)
      while bench.server.tracedProcesses == 0 { bench.server.loop.turn(milliseconds: 10) }
      #expect(try agent.receiveConfig() != nil)
    }
  }

  @Test("the socket's folder goes with the server")
  func folder() throws {
    var bench: ServerBench? = try ServerBench()
    let path = try #require(bench?.server.socketFolder)
    var status = stat()
    #expect(stat(path, &status) == 0 && status.st_mode & 0o777 == 0o700)
    bench = nil
    #expect(stat(path, &status) == -1)
  }
}
