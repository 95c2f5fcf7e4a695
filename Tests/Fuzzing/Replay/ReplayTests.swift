// SPDX-License-Identifier: Apache-2.0

import CRecordingABI
import Foundation
import FuzzEntries
import TestSupport
import Testing

/// Runs the fuzz targets on every input that the fuzzers kept, and on every input that once showed
/// a defect.
///
/// A crash ends the test process. `scripts/fuzz --replay` then names the file.
@Suite struct ReplayTests {
  private static let corpora = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("Corpus")

  private static func files(_ target: FuzzTarget) throws -> [URL] {
    try FileManager.default.contentsOfDirectory(
      at: corpora.appendingPathComponent(target.rawValue), includingPropertiesForKeys: nil)
  }

  @Test(arguments: FuzzTarget.allCases)
  func everyInputIsOnlyData(target: FuzzTarget) throws {
    let runner = try FuzzRunner(scratch: TemporaryFolder.shared.fresh("fuzz"))
    let files = try Self.files(target)
    #expect(files.count >= 4, "the corpus is there")
    for file in files {
      let broken = runner.run(target, Array(try Data(contentsOf: file)))
      #expect(broken == [], "\(target.rawValue)/\(file.lastPathComponent)")
    }
  }

  /// The seeds are files of compilers, and recordings as the agent writes them. They must be valid:
  /// if a reader refused them at once, the code behind its first check would never run.
  @Test func theCorporaReachWhatTheyAreFor() throws {
    for target in [FuzzTarget.elf, .sites] {
      let images = try Self.files(target).count { file in
        (try? Data(contentsOf: file))?.starts(with: [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]) == true
      }
      #expect(images >= 4)
    }
    let recordings = try Self.files(.recording).count { file in
      guard let bytes = try? Data(contentsOf: file) else { return false }
      let records = RecordingInput(bytes).records
      return Set(records.map(\.kind)).isSuperset(of: [.process, .chunk, .modules])
        && records.contains { $0.kind == .process && Self.isRead($0.bytes) }
    }
    #expect(recordings >= 4)
  }

  /// The reader refuses a recording of another version before it looks at its chunks.
  private static func isRead(_ eventFile: [UInt8]) -> Bool {
    (NREC_OLDEST_VERSION...NREC_VERSION).contains { version in
      var magic = NREC_FILE_MAGIC.littleEndian
      var number = version.littleEndian
      let start = withUnsafeBytes(of: &magic, Array.init) + withUnsafeBytes(of: &number, Array.init)
      return eventFile.starts(with: start)
    }
  }

  @Test func aRecordingsBytesAreReadAsTheyWereWritten() {
    var input = RecordingInput()
    for (index, kind) in RecordingInput.Kind.allCases.enumerated() {
      input.records.append(.init(kind, Array(repeating: UInt8(index), count: index * 100)))
    }
    #expect(RecordingInput(input.encoded).encoded == input.encoded)
    // Cut anywhere, it is still one.
    for length in 0..<input.encoded.count {
      _ = RecordingInput(input.encoded.prefix(length))
    }
  }
}
