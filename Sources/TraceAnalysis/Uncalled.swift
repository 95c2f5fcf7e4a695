// SPDX-License-Identifier: Apache-2.0

import RecordingReader
import Units

/// A function that could have been recorded and was not called.
public struct UncalledFunction: Sendable {
  /// What is known of it.
  public var function: FunctionName
  /// Its number in the process where it was first met.
  public var number: UInt64

  /// Its name as it is shown.
  public var label: String { function.label(number: number) }
}

/// "Never called", apart from "not wanted by the filter" and from "could not be armed".
///
/// A function is a module's call site, whichever process or generation: armed in one of them and
/// called in one is called.
public struct Uncalled: Sendable {
  /// Armed and never called, by module and name.
  public private(set) var functions: [UncalledFunction] = []
  /// Sites that would have recorded a call.
  public private(set) var armed = 0
  /// Sites that no rule wanted.
  public private(set) var unwanted = 0
  /// Sites that could not be armed.
  public private(set) var notArmed = 0
  /// Of recordings that do not keep their plans.
  public private(set) var unknown = 0

  /// `report` is of the same recording, and says what was called.
  public init(of recording: Recording, report: Report) {
    var modules: [Identity: Sites] = [:]
    for process in recording.processes {
      for (index, module) in process.modules.enumerated() where module.sites > 0 {
        let identity = Identity(module)
        modules[identity, default: Sites(process, index)].merge(module)
      }
    }
    var called: [Identity: Set<ModuleOffset>] = [:]
    for row in report.rows {
      guard let offset = row.function.offset, let path = row.function.modulePath else { continue }
      let identity = Identity(path: path, buildID: row.function.buildID)
      called[identity, default: []].insert(offset)
    }
    for (identity, sites) in modules { count(sites, called[identity] ?? []) }
    functions.sort { left, right in
      let modules = (left.function.modulePath ?? "", right.function.modulePath ?? "")
      return modules.0 != modules.1
        ? modules.0 < modules.1 : (left.label, left.number) < (right.label, right.number)
    }
  }

  private mutating func count(_ sites: Sites, _ called: Set<ModuleOffset>) {
    for (index, state) in sites.states.enumerated() {
      switch state {
      case .unknown: unknown += 1
      case .unwanted: unwanted += 1
      case .notArmed: notArmed += 1
      case .armed:
        armed += 1
        if !called.contains(sites.offsets[index]) { functions.append(sites.function(index)) }
      }
    }
  }
}

private struct Identity: Hashable {
  var path: String
  var buildID: String?

  init(path: String, buildID: String?) {
    self.path = path
    self.buildID = buildID
  }

  init(_ module: RecordedModule) { self.init(path: module.path, buildID: module.buildID) }
}

/// What became of one module's sites, over all processes and generations.
///
/// As many as its file of symbols has: the counts in a line are not used.
private struct Sites {
  let process: ProcessRecording
  let module: Int
  let offsets: [ModuleOffset]
  var states: [SiteState]
  /// Processes that were forked have their parent's modules: the same functions again.
  private var last: RecordedModule?

  init(_ process: ProcessRecording, _ module: Int) {
    self.process = process
    self.module = module
    offsets = process.siteOffsets(ofModule: module)
    states = Array(repeating: .unknown, count: offsets.count)
  }

  mutating func merge(_ record: RecordedModule) {
    if let last, last.plan == record.plan, last.armed == record.armed,
      last.sites == record.sites, last.status == record.status
    {
      return
    }
    last = record
    record.forEachState(upTo: states.count) { range, state in
      for index in range where states[index].rawValue < state.rawValue { states[index] = state }
    }
  }

  func function(_ index: Int) -> UncalledFunction {
    let number = process.modules[module].firstFunction &+ UInt64(index)
    return UncalledFunction(function: process.function(number), number: number)
  }
}
