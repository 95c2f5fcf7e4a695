// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A program that was compiled with `-pg` and stripped, in a folder of its own, and the debug files that
/// can be made for it.
public struct StrippedProgram: Sendable {
  /// Not stripped.
  public let whole: String
  /// Of `path`.
  public let folder: String
  /// Without .symtab.
  public let path: String
  /// Lower-case hexadecimal.
  public let buildID: String

  /// `source` becomes `name`, stripped.
  public init(
    _ source: String = FixtureSource.shapes, name: String = "program",
    flags: [String] = ["-O2", "-pg"]
  ) throws {
    whole = try Fixture(.gcc, flags, as: .positionIndependentExecutable, source: source).build()
    folder = try TemporaryFolder.shared.fresh("stripped")
    path = "\(folder)/\(name)"
    try Tools.run("strip", ["-s", whole, "-o", path])
    let notes = try Tools.run("readelf", ["-n", whole])
    guard let line = notes.split(separator: "\n").first(where: { $0.contains("Build ID: ") }),
      let digits = line.split(separator: " ").last
    else { throw TestSupportError("\(whole): readelf shows no build-id") }
    buildID = String(digits)
  }

  /// What objcopy leaves for a debugger, as a new file.
  public func makeDebugFile(_ path: String) throws {
    let parent = (path as NSString).deletingLastPathComponent
    try FileManager.default.createDirectory(atPath: parent, withIntermediateDirectories: true)
    try Tools.run("objcopy", ["--only-keep-debug", whole, path])
  }

  /// Where below a root the debug file of this build is.
  public func buildIDPath(below root: String) -> String {
    "\(root)/.build-id/\(buildID.prefix(2))/\(buildID.dropFirst(2)).debug"
  }

  /// Makes the program name a debug file, which must exist.
  public func addLink(to debugFile: String) throws {
    try Tools.run("objcopy", ["--add-gnu-debuglink=\(debugFile)", path])
  }

  /// Puts these bytes into .gnu_debugdata.
  public func addDebugData(_ bytes: Data) throws {
    let file = try TemporaryFolder.shared.fresh("debugdata") + "/data"
    try bytes.write(to: URL(fileURLWithPath: file))
    try Tools.run("objcopy", ["--add-section", ".gnu_debugdata=\(file)", path])
  }

  /// MiniDebugInfo as Fedora's packages have it: the symbols of functions alone, compressed.
  public func miniDebugInfo() throws -> Data {
    let file = try TemporaryFolder.shared.fresh("minidebuginfo") + "/mini"
    try Tools.run("objcopy", ["--only-keep-debug", whole, file + ".debug"])
    let symbols = try Tools.run("nm", ["--format=posix", "--defined-only", whole])
    var names = ""
    for line in symbols.split(separator: "\n") {
      let words = line.split(separator: " ")
      if words.count > 1, words[1].lowercased() == "t" { names += words[0] + "\n" }
    }
    try Data(names.utf8).write(to: URL(fileURLWithPath: file + ".keep"))
    try Tools.run(
      "objcopy", ["-S", "--keep-symbols=\(file).keep", file + ".debug", file])
    try Tools.run("xz", ["-k", file])
    return try Data(contentsOf: URL(fileURLWithPath: file + ".xz"))
  }
}
