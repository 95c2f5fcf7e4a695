// SPDX-License-Identifier: Apache-2.0

import RecordingSchema
import Synchronization

/// The symbol files of a recording, each read when its first name is needed.
final class SymbolStore: Sendable {
  private struct State {
    var byName: [String: SymbolFile] = [:]
    var nameByPath: [String: String]?
    /// By file.
    var problems: [String: [String]] = [:]
  }

  private let folder: String
  private let state = Mutex(State())

  init(recording: String) { folder = "\(recording)/\(RecordingFormat.symbolsName)" }

  /// What was wrong with those read until now, by the files' names: threads that read the recording
  /// come to them in any order.
  var problems: [String] {
    state.withLock { state in state.problems.sorted { $0.key < $1.key }.flatMap(\.value) }
  }

  /// A module's symbols: by build-id, or by its path where it has none; nil where there are none.
  func symbols(of module: RecordedModule) -> SymbolFile? {
    state.withLock { state in
      if let name = module.symbols ?? module.buildID { return file(name, module, &state) }
      guard let name = fileName(ofPath: module.path, &state) else { return nil }
      return file(name, module, &state)
    }
  }

  /// Whether arguments of any function were recorded.
  var hasSignatures: Bool {
    ((try? directoryNames(folder)) ?? []).contains { $0.hasSuffix(RecordingFormat.argumentsSuffix) }
  }

  private func file(
    _ name: String, _ module: RecordedModule, _ state: inout State
  ) -> SymbolFile {
    if let known = state.byName[name] { return known }
    let file = SymbolFile(path: "\(folder)/\(name)", name: name, module: module.path)
    state.byName[name] = file
    state.problems[name] = [
      file.problem, file.sourceLines.problem, file.signatureProblem,
    ].compactMap { $0 }
    return file
  }

  /// Files of modules without a build-id are named after a hash: the path is in their first
  /// line.
  private func fileName(ofPath path: String, _ state: inout State) -> String? {
    if let known = state.nameByPath { return known[path] }
    var names: [String: String] = [:]
    for name in (try? directoryNames(folder)) ?? [] {
      guard let path = SymbolFile.modulePath(ofFile: "\(folder)/\(name)") else { continue }
      names[path] = name
    }
    state.nameByPath = names
    return names[path]
  }
}
