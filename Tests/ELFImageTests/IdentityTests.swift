// SPDX-License-Identifier: Apache-2.0

import ELFImage
import Foundation
import TestSupport
import Testing

/// A file that we cannot read gives an error of one line.
@Suite struct IdentityTests {
  /// The smallest header that passes: an executable without anything in it.
  static let header: [UInt8] = {
    var bytes = [UInt8](repeating: 0, count: 64)
    bytes.replaceSubrange(0..<7, with: [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1])
    bytes[0x10] = 2
    bytes[0x12] = 62
    return bytes
  }()

  static func error(_ bytes: [UInt8]) -> String {
    do {
      _ = try ELFImage(bytes: ELFBytes(path: "libfoo.so", storage: bytes))
      return "none"
    } catch {
      return error.description
    }
  }

  @Test("an empty executable is an ELF file")
  func smallest() throws {
    let image = try ELFImage(bytes: ELFBytes(path: "a", storage: Self.header))
    #expect(image.header.fileType == .executable)
    #expect(image.sections.isEmpty && image.segments.isEmpty)
    #expect(image.memorySpan == nil && image.buildID == nil)
  }

  @Test(
    "what is not ours is named",
    arguments: [
      (0, 0x23, "not an ELF file: expected 7f 45 4c 46 at offset 0, found 23 45 4c 46"),
      (4, 1, "expected a 64-bit ELF file (class 2), found a 32-bit one (class 1)"),
      (5, 2, "expected little-endian data (encoding 1), found big-endian (encoding 2)"),
      (6, 9, "the ELF version at file offset 0x6: expected 1, found 9"),
      (0x12, 183, "expected x86-64 code (machine 62), found AArch64 (machine 183)"),
      (0x12, 99, "expected x86-64 code (machine 62), found machine 99"),
      (
        0x10, 4,
        "expected an object, executable or shared object (type 1, 2 or 3), found type 4 "
          + "(a core dump)"
      ),
    ])
  func otherFiles(offset: Int, value: UInt8, message: String) {
    var bytes = Self.header
    bytes[offset] = value
    #expect(Self.error(bytes) == "libfoo.so: \(message)")
  }

  @Test("an empty file, a short header and a text are distinguished")
  func shortFiles() {
    #expect(
      Self.error([])
        == "libfoo.so: not an ELF file: expected 7f 45 4c 46 at offset 0, found nothing")
    #expect(
      Self.error(Array(Self.header[..<63]))
        == "libfoo.so: the ELF header at file offset 0x0: expected 64 bytes, found 63: "
        + "the file is truncated or damaged")
    #expect(Self.error(Array("#!/bin/sh".utf8)).contains("not an ELF file"))
  }

  @Test("what is no regular file is refused")
  func otherKinds() throws {
    let folder = try TemporaryFolder.shared.fresh("kinds")
    let pipe = folder + "/pipe"
    #expect(mkfifo(pipe, 0o600) == 0)
    let rows = [
      (folder, "expected a regular file, found a directory"),
      (pipe, "expected a regular file, found a pipe"),
      ("/dev/zero", "expected a regular file, found a device or socket"),
      (folder + "/none", "cannot open: No such file or directory"),
    ]
    for (path, message) in rows {
      #expect {
        _ = try ELFImage(path: path)
      } throws: { error in
        "\(error)" == "\(path): \(message)"
      }
    }
  }

  @Test("a sparse file of a terabyte is refused before it is read")
  func hugeFiles() throws {
    let path = try TemporaryFolder.shared.fresh("huge") + "/sparse"
    FileManager.default.createFile(atPath: path, contents: nil)
    try #require(truncate(path, 1 << 40) == 0)
    #expect {
      _ = try ELFImage(path: path)
    } throws: { error in
      "\(error)" == "\(path): 1099511627776 bytes long, expected at most 4294967296"
    }
  }
}
