// SPDX-License-Identifier: Apache-2.0

import Foundation
import RecordingSchema
import TestSupport
import Testing

@testable import Recorder

/// The folder of a snapshot: it has its name only once it is complete.
@Suite struct SnapshotFolderTests {
  private func recording() throws -> (RecordingFolder, String) {
    let path = try TemporaryFolder.shared.fresh("snapshots") + "/data"
    let folder = try RecordingFolder(path: path)
    #expect(try folder.saveSymbols("aabb", Array("names\n".utf8)))
    try folder.append(Array("line".utf8), to: "1-0.modules")
    return (folder, path)
  }

  private func names(_ path: String) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: path).sorted()
  }

  @Test("what is not finished has another name, and a reader of the recording does not see it")
  func named() throws {
    let (folder, path) = try recording()
    let snapshot = try folder.makeSnapshot(3)
    try snapshot.linkSymbols()
    try snapshot.copy("1-0.modules")
    try snapshot.write(Array("{}".utf8), to: RecordingFormat.sessionName)
    #expect(try names(path) == [".snapshot-3.new", "1-0.modules", "symbols"])
    try snapshot.finish()
    #expect(try names(path) == ["1-0.modules", "snapshot-3", "symbols"])
    #expect(try names(path + "/snapshot-3") == ["1-0.modules", "session.json", "symbols"])
    for file in ["1-0.modules", "symbols/aabb"] {
      #expect(
        FileManager.default.contents(atPath: "\(path)/\(file)")
          == FileManager.default.contents(atPath: "\(path)/snapshot-3/\(file)"))
    }
  }

  @Test("what cannot be finished leaves nothing")
  func discarded() throws {
    let (folder, path) = try recording()
    let snapshot = try folder.makeSnapshot(1)
    try snapshot.linkSymbols()
    #expect(throws: RecordingFolderError.self) { try snapshot.copy("2-0.modules") }
    snapshot.discard()
    #expect(try names(path) == ["1-0.modules", "symbols"])
    #expect(try names(path + "/symbols") == ["aabb"])
  }

  @Test("one that is in the way is told")
  func inTheWay() throws {
    let (folder, path) = try recording()
    _ = try folder.makeSnapshot(1)
    let error = #expect(throws: RecordingFolderError.self) { _ = try folder.makeSnapshot(1) }
    #expect(error?.description == "snapshot-1: cannot make the snapshot: File exists")
    #expect(try names(path).contains(".snapshot-1.new"))
  }
}
