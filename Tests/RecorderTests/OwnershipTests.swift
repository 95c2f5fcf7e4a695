// SPDX-License-Identifier: Apache-2.0

import CRecorder
import Foundation
import TestSupport
import Testing

@testable import Recorder

/// Whose files they are: no other user reads what was recorded, or makes us write elsewhere.
@Suite struct OwnershipTests {
  private func mode(_ path: String) throws -> mode_t {
    var status = stat()
    try #require(lstat(path, &status) == 0)
    #expect(status.st_uid == geteuid())
    return status.st_mode & 0o7777
  }

  /// A folder that says it is a recording, with a file beside the ones that belong there.
  private func makeRecording(_ path: String) throws {
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    try Data(#"{"schema":"nopscope.recording/1"}"#.utf8)
      .write(to: URL(fileURLWithPath: path + "/session.json"))
  }

  /// The umask is the process's.
  @Test(
    "a recording is 0700 with files of 0600, the socket 0600 in a folder of 0700, in any umask",
    .ownProcess)
  func modes() throws {
    let before = umask(0)
    defer { umask(before) }
    let bench = try ServerBench()
    let agent = try bench.join()
    _ = try bench.load(
      agent, HostileClientTests.fixture.build(), buildID: [], generation: 1)
    #expect(try mode(bench.path) == 0o700)
    #expect(try mode(bench.path + "/symbols") == 0o700)
    let files = try #require(FileManager.default.enumerator(atPath: bench.path)).compactMap {
      $0 as? String
    }
    #expect(files.count >= 4)
    for file in files where file != "symbols" {
      #expect(try mode("\(bench.path)/\(file)") == 0o600, "\(file)")
    }
    #expect(try mode(bench.server.socketFolder) == 0o700)
    #expect(try mode(bench.server.socketPath) == 0o600)
  }

  @Test("a socket is never put over what is there")
  func occupied() throws {
    let path = try TemporaryFolder.shared.fresh("socket") + "/s"
    try Data("keep".utf8).write(to: URL(fileURLWithPath: path))
    #expect(nrc_listen(path) == -1 && errno == EADDRINUSE)
    #expect(try String(contentsOfFile: path, encoding: .utf8) == "keep")
  }

  @Test("the socket's folder is made where no other user can put another in its place")
  func parents() throws {
    let folder = try TemporaryFolder.shared.fresh("parent")
    let modes: [(mode_t, Bool)] = [
      (0o700, true), (0o755, true), (0o1777, true), (0o777, false), (0o770, false),
    ]
    for (mode, isSafe) in modes {
      #expect(chmod(folder, mode) == 0)
      #expect(SocketFolder.isSafeParent(folder) == isSafe, "\(String(mode, radix: 8))")
    }
    #expect(!SocketFolder.isSafeParent(folder + "/none"))
    try Data().write(to: URL(fileURLWithPath: folder + "/file"))
    #expect(!SocketFolder.isSafeParent(folder + "/file"))
    if geteuid() == 0 {
      #expect(chmod(folder, 0o700) == 0 && chown(folder, 65534, 65534) == 0)
      #expect(!SocketFolder.isSafeParent(folder))
    }
  }

  @Test("a link is no recording, be it to one or not")
  func links() throws {
    let folder = try TemporaryFolder.shared.fresh("links")
    try makeRecording(folder + "/real")
    for target in [folder + "/real", folder, folder + "/none"] {
      let link = folder + "/data"
      #expect(symlink(target, link) == 0)
      #expect(
        throws: RecordingFolderError.exists(path: link, what: "exists and is no recording")
      ) { try RecordingFolder(path: link) }
      #expect(unlink(link) == 0)
    }
    #expect(FileManager.default.fileExists(atPath: folder + "/real/session.json"))
    // Nor does a link make a folder one.
    try FileManager.default.createDirectory(
      atPath: folder + "/other", withIntermediateDirectories: false)
    #expect(symlink(folder + "/real/session.json", folder + "/other/session.json") == 0)
    #expect(!RecordingFolder.isRecording(folder + "/other"))
  }

  @Test("a recording is known by its session's schema, wherever that stands")
  func schema() throws {
    let folder = try TemporaryFolder.shared.fresh("schema")
    let texts = [
      (#"{"version":2,"processes":[],"schema":"nopscope.recording/1"}"#, true),
      (#"{"schema":"nopscope.recording/1"} and more"#, false),
      (#"{"note":"{\"schema\":\"nopscope.recording/1\"}"}"#, false),
    ]
    for (text, isRecording) in texts {
      try Data(text.utf8).write(to: URL(fileURLWithPath: folder + "/session.json"))
      #expect(RecordingFolder.isRecording(folder) == isRecording, "\(text)")
    }
    // What we write ourselves is one.
    let bench = try ServerBench()
    #expect(RecordingFolder.isRecording(bench.path))
  }

  @Test("of an old recording only files go, and not by a link out of it")
  func oldRecordings() throws {
    let folder = try TemporaryFolder.shared.fresh("old")
    let precious = folder + "/precious"
    try FileManager.default.createDirectory(
      atPath: precious, withIntermediateDirectories: false)
    try Data("keep".utf8).write(to: URL(fileURLWithPath: precious + "/file"))
    try makeRecording(folder + "/data")
    try makeRecording(folder + "/data.old")
    #expect(symlink(precious, folder + "/data.old/symbols") == 0)
    #expect(symlink(precious + "/file", folder + "/data.old/1-0.events") == 0)
    _ = try RecordingFolder(path: folder + "/data")
    #expect(try String(contentsOfFile: precious + "/file", encoding: .utf8) == "keep")
    #expect(!FileManager.default.fileExists(atPath: folder + "/data.old/symbols/file"))
    #expect(FileManager.default.fileExists(atPath: folder + "/data.old/session.json"))
  }

  @Test(
    "another user's recording is neither moved nor removed",
    .enabled(if: geteuid() == 0, "only root may give files away"), arguments: [true, false])
  func anotherUser(isOld: Bool) throws {
    let folder = try TemporaryFolder.shared.fresh("foreign")
    try makeRecording(folder + "/data")
    try makeRecording(folder + "/data.old")
    let foreign = folder + (isOld ? "/data.old" : "/data")
    #expect(chown(foreign, 65534, 65534) == 0)
    let error = #expect(throws: RecordingFolderError.self) {
      try RecordingFolder(path: folder + "/data")
    }
    #expect(
      error?.description.hasPrefix(
        isOld
          ? foreign + ": exists and is no recording of yours"
          : foreign + ": is a recording of another user (65534)") == true)
    for name in ["data", "data.old"] {
      #expect(FileManager.default.fileExists(atPath: "\(folder)/\(name)/session.json"))
    }
  }
}
