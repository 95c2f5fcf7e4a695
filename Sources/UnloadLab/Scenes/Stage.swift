// SPDX-License-Identifier: Apache-2.0

import CallSites
import LivePatching
import MachineCode
import TextFormat
import Units

/// Where the scenes of the demo are played: the specimens, and what all scenes share.
public final class Stage {
  /// The scenes of the demo, in their order: what happened, why, and the fix.
  public enum Scene: String, CaseIterable, Sendable {
    case flash
    case cost, record, smp, cmpxchg, unload
    case disabled, `static`, live
  }

  let specimens: PreparedSpecimens
  let decoder: Decoder
  /// Engines shown by the scenes that compare engines.
  let engines: [LabEngine]

  /// Prepares the specimens. Throws where they are not built or Capstone is missing.
  public init(engines: [LabEngine] = LabEngine.allCases) throws {
    decoder = try Decoder()
    specimens = try PreparedSpecimens(decoder: decoder)
    self.engines = engines
  }

  /// Plays the scene and reports what happened. Throws where it could not be played.
  public func play(_ scene: Scene) throws -> SceneReport {
    switch scene {
    case .flash: try flash()
    case .cost: try cost()
    case .record: try record()
    case .smp: try smp()
    case .cmpxchg: try cmpxchg()
    case .unload: try unload()
    case .disabled: try disabled()
    case .static: try staticEngine()
    case .live: try live()
    }
  }

  /// The specimen as it is loaded now.
  func specimenModule() throws -> LoadedModule {
    guard let module = LoadedModule.find(buildID: specimens.table.buildID ?? []) else {
      throw LibraryError(text: "\(specimens.path): is not loaded")
    }
    return module
  }

  /// Makes the loaded specimen's text known to the engine.
  func register(_ engine: DaemonEngine) throws {
    let module = try specimenModule()
    guard let site = specimens.table.sites.first else { return }
    try engine.register(
      InstrumentedText(
        start: module.text.lowerBound, end: module.text.upperBound,
        mcountStub: module.loadBias + specimens.table.target(of: site)))
  }

  /// The run-time address of the site in `function`.
  func address(of function: String) throws -> CodeAddress {
    let site = specimens.table.sites[try specimens.site(of: function)]
    return try specimenModule().loadBias + site.offset
  }

  /// `e8 1b fd ff ff   call 0x7f0012341030`.
  func listing(_ bytes: [UInt8], at address: CodeAddress) -> String {
    "{code}\(hexDigits(bytes, separator: " ")){/}   \(decoder.text(bytes, at: address))"
  }
}
