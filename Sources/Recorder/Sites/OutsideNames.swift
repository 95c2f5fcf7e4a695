// SPDX-License-Identifier: Apache-2.0

import CallSites
import ELFImage

/// What a stripped file's names depend on: the files of debug symbols in the places where its own may
/// be.
///
/// Names that were found once, or not found, count only as long as none of those files has come, gone or
/// changed.
public struct OutsideNames: Equatable, Sendable {
  /// The file name in its .gnu_debuglink; empty where it has none.
  public var link: String
  /// `DebugFiles.state` of just before the names were looked for.
  public var state: UInt64
  /// Why files that are there were not used, one line each.
  public var problems: [String]
  /// Whether looking again may find more although no file has changed: liblzma may be installed.
  public var mayImprove: Bool

  /// As the cache has it.
  init(link: String, state: UInt64, problems: [String]) {
    self.link = link
    self.state = state
    self.problems = problems
    mayImprove = false
  }

  /// Looks for the names of `table`; nil where its file has symbols of its own.
  init?(_ table: SiteTable, _ debugFiles: DebugFiles) {
    if table.image.hasStaticSymbols { return nil }
    link = table.image.debugLink()?.name ?? ""
    // Before they are read: what changes while they are is noticed the next time.
    state = debugFiles.state(path: table.path, buildID: table.buildID ?? [], link: link)
    let refusals = table.nameOrigin.refusals
    problems = refusals.map { "\($0)" }
    mayImprove = refusals.contains(where: \.isPassing)
  }

  /// Whether the files are as they were, for the stripped file at `path`.
  func isCurrent(path: String, buildID: [UInt8], _ debugFiles: DebugFiles) -> Bool {
    state == debugFiles.state(path: path, buildID: buildID, link: link)
  }
}
