// SPDX-License-Identifier: Apache-2.0

import CPatchCore
import CRecorder
import CRecordingABI
import ELFImage
import Foundation
import TestSupport
import Testing
import TextFormat

@testable import Recorder

/// What the recorder knows of a forked child.
extension RecordServerTests {
  @Test(
    "a forked child has the modules that it names, under its parent's numbers, whatever the parent does"
  )
  func fork() throws {
    let path = try Self.fixture.build()
    let id = try buildID(path)
    let bench = try ServerBench()
    let parent = try bench.join()
    let plan = try bench.load(parent, path, buildID: id, generation: 1, time: 500).plan
    parent.applied(1, armed: plan.count)
    _ = try bench.load(parent, "/etc/passwd", buildID: [], generation: 2, time: 700)
    // The child is forked here. Before it says so, its parent unloads one and loads another.
    parent.gone(1)
    let late = try bench.load(parent, path, buildID: id, generation: 3, time: 900).plan
    parent.applied(3, armed: late.count)
    bench.serve()
    let child = try bench.fork(parent)
    child.inherited([1, 2])
    bench.serve()
    let name = "\(child.process)-0.modules"
    var loads = try bench.lines(name).compactMap { $0["load"] as? [String: Any] }
    #expect(loads.compactMap { $0["generation"] as? Int } == [1, 2])
    #expect(loads.first?["firstFunction"] as? Int == 0)
    #expect(loads.first?["armed"] as? Int == Int(plan.count))
    // What it loads itself gets numbers that nothing it inherited has, even under a generation
    // that its parent gave away after the fork.
    let own = try bench.load(child, path, buildID: id, generation: 3, time: 1100)
    #expect(own.plan.first_function == 2 * plan.count)
    #expect(own.entries.count == Int(plan.count))
    child.applied(3, armed: own.plan.count)
    bench.serve()
    loads = try bench.lines(name).compactMap { $0["load"] as? [String: Any] }
    #expect(loads.last?["firstFunction"] as? Int == Int(own.plan.first_function))
    child.gone(1)
    bench.serve()
    #expect(try bench.lines(name).contains { $0["unload"] != nil })
    #expect(!bench.server.warnings.contains { $0.contains("has no names") })
  }

  /// An agent whose generation 1 is patched.
  private func joinWithModule(_ bench: ServerBench) throws -> FakeAgent {
    let path = try Self.fixture.build()
    let agent = try bench.join()
    let plan = try bench.load(agent, path, buildID: try buildID(path), generation: 1).plan
    agent.applied(1, armed: plan.count)
    bench.serve()
    return agent
  }

  @Test("a copy's copy has its modules, whichever place in memory it has")
  func copyOfACopy() throws {
    let bench = try ServerBench()
    let parent = try joinWithModule(bench)
    // The child's place is behind the one that its own child takes, and both are seen at once.
    let before = try bench.fork(parent)
    let child = try FakeAgent(copying: parent, isUnseen: true)
    before.end()
    for _ in 0..<500 where bench.server.connectedProcesses > 1 {
      bench.server.loop.turn(milliseconds: 10)
    }
    bench.serve()
    let grandchild = try FakeAgent(copying: child)
    #expect(grandchild.place < child.place)
    child.inherited([1])
    grandchild.inherited([1])
    bench.serve()
    #expect(bench.server.latest[grandchild.process]?.parent == child.process)
    let loads = try bench.lines("\(grandchild.process)-0.modules").compactMap { $0["load"] }
    #expect(loads.count == 1)
  }

  @Test(
    "a copy's copy may name its modules before the copy does, which may also end before",
    arguments: [true, false])
  func copyOfACopyIsFirst(ends: Bool) throws {
    let bench = try ServerBench()
    let parent = try joinWithModule(bench)
    let child = try bench.fork(parent)
    let grandchild = try bench.fork(child)
    grandchild.inherited([1])
    bench.serve()
    let name = "\(grandchild.process)-0.modules"
    #expect(try bench.lines(name).isEmpty)
    if ends { child.end() } else { child.inherited([1]) }
    for _ in 0..<500 where try bench.lines(name).isEmpty {
      bench.server.loop.turn(milliseconds: 10)
    }
    #expect(try bench.lines(name).compactMap { $0["load"] }.count == 1)
    #expect(bench.server.warnings.isEmpty)
  }

  @Test("modules that nobody knows any more are told, with the process and its parent")
  func forgottenModules() throws {
    let bench = try ServerBench()
    let parent = try bench.join()
    _ = try bench.load(parent, "/etc/passwd", buildID: [], generation: 1)
    _ = try bench.load(parent, "/etc/passwd", buildID: [], generation: 1002)
    let child = try bench.fork(parent)
    child.inherited(Array(1...1000))
    child.inherited([1001])
    bench.serve()
    #expect(
      bench.server.warnings.filter { $0.contains("has no names") } == [
        "process \(child.process): what it calls in 1000 of its modules has no names: its parent "
          + "\(parent.process) unloaded them or ended, long before the first of these calls"
      ])
    let loads = try bench.lines("\(child.process)-0.modules").compactMap { $0["load"] }
    #expect(loads.count == 1)
  }

  /// Another thread of its parent was in dlopen: the module's sites were not patched yet.
  @Test("a module that the parent had not reported when it forked is no loss, in a grandchild too")
  func unreportedModule() throws {
    let bench = try ServerBench()
    let parent = try bench.join()
    _ = try bench.load(parent, "/etc/passwd", buildID: [], generation: 1)
    let child = try bench.fork(parent)
    child.inherited([1, 2])
    bench.serve()
    let grandchild = try bench.fork(child)
    grandchild.inherited([1, 2])
    bench.serve()
    #expect(bench.server.warnings.filter { $0.contains("has no names") } == [])
    let loads = try bench.lines("\(grandchild.process)-0.modules").compactMap { $0["load"] }
    #expect(loads.count == 1)
  }
}
