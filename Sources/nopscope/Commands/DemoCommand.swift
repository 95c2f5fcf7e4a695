// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CommandOutput
import Glibc
import LivePatching
import UnloadLab

extension Stage.Scene: ExpressibleByArgument {}
extension LabEngine: ExpressibleByArgument {}

struct DemoCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "demo",
    abstract: "Show the module-unload bug of 2008, and the design that ended it, in this process.",
    discussion: """
      Patches real call sites of a real shared object, closes it, and measures what the engines of \
      Linux 2.6.27 and 2.6.28 do at its address afterwards. Everything on the screen was measured \
      in this run; the network card is a model. On a terminal the demo pauses between scenes.

      EXAMPLES
        nopscope demo
        nopscope demo --no-pause
        nopscope demo --scene unload --scene flash
        nopscope demo --scene unload --engine shipped --engine zapped
        nopscope demo --json | jq '.scenes[] | {name, held}'
        nopscope demo --library ./liblua.so --call nopscope_workload

      EXIT STATUS
        0  every expectation of the scenes held
        1  one did not, or a scene could not be played
        64 the command line is wrong
      """)

  @Option(help: "Play this scene (repeat for several); all by default.")
  var scene: [Stage.Scene] = []

  @Option(help: "Show this engine in the scenes unload and flash (repeat for several).")
  var engine: [LabEngine] = []

  @Flag(help: "Write one JSON document, schema nopscope.demo/1.")
  var json = false

  @Flag(help: "Do not wait for Enter between scenes. Without a terminal it never does.")
  var noPause = false

  @Option(
    help: "Run both designs on this shared object instead, built with -pg or patchable entries.",
    completion: .file())
  var library: String?

  @Option(help: "With --library: call this exported function, long f(void), before and after.")
  var call: String?

  func validate() throws {
    if (library == nil) != (call == nil) {
      throw ValidationError("--library and --call go together")
    }
    if library != nil, !scene.isEmpty {
      throw ValidationError("--scene and --library cannot be used together")
    }
  }

  func run() throws {
    unblockSignals()
    let began = ContinuousClock.now
    let screen = DemoScreen()
    var pause = ScenePause(isWanted: !noPause && !json)
    let reports: [SceneReport]
    do {
      let stage = try Stage(engines: engine.isEmpty ? LabEngine.allCases : engine)
      if let library, let call {
        reports = [try stage.play(library: library, calling: call)]
        if !json { screen.show(reports[0]) }
      } else {
        reports = try play(on: stage, screen, &pause)
      }
    } catch {
      complain("\(error)")
      throw ExitCode(1)
    }
    if json {
      try writeJSON(DemoDocument(scenes: reports), schema: "demo")
    } else {
      screen.close(reports, ContinuousClock.now - began - pause.waited)
    }
    if !reports.allSatisfy(\.held) { throw ExitCode(1) }
  }

  /// Plays the scenes that were asked for; of a whole demo, what is before and after them too.
  private func play(
    on stage: Stage, _ screen: DemoScreen, _ pause: inout ScenePause
  ) throws -> [SceneReport] {
    let isWhole = scene.isEmpty
    let scenes = isWhole ? Stage.Scene.allCases : scene
    if isWhole && !json { screen.open() }
    var reports: [SceneReport] = []
    for (index, scene) in scenes.enumerated() {
      if index > 0 { pause.wait(before: "the next scene (\(index + 1) of \(scenes.count))") }
      reports.append(try stage.play(scene))
      if !json { screen.show(reports[index]) }
    }
    if isWhole && !json {
      pause.wait(before: "the last screen")
      screen.show(RunSummary(reports))
    }
    return reports
  }

  /// A parent may have left all signals blocked (a worker of libdispatch does). Threads inherit
  /// that, and a thread that blocks all signals cannot be stopped.
  private func unblockSignals() {
    var none = sigset_t()
    sigemptyset(&none)
    pthread_sigmask(SIG_SETMASK, &none, nil)
  }
}
