// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Writes the files that a test runs.
///
/// The runner never has such a file open for writing; another process writes it. Tests run in
/// parallel. A child that one of them forks holds a copy of every open descriptor until its exec,
/// also of one that is closed there. The kernel runs no file that anybody has open for writing
/// (ETXTBSY), so that a test would fail now and then.
public enum ProgramFile {
  /// Copies a program, with its mode.
  public static func copy(_ source: String, to destination: String) throws {
    try Tools.run("cp", ["--preserve=mode", "--", source, destination])
  }

  /// Writes a program with these bytes.
  public static func write(_ contents: some Sequence<UInt8>, to path: String, mode: mode_t = 0o755)
    throws
  {
    try Tools.run(
      "install", ["-m", String(mode, radix: 8), "--", "/dev/stdin", path], input: Data(contents))
  }
}
