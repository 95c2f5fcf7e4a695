// SPDX-License-Identifier: Apache-2.0
//
// What the text files of a recording say: the recorder writes these types, the recording reader
// reads them. docs/format.md has the same in prose.
//
//   RecordingFormat   names of files, the schema's name
//   Session           session.json
//   ProcessLine       a line of processes
//   ModuleLine        a line of PID-N.modules
//   SitePlan          the plan in such a line: 12a3u
//   SymbolHeader      the first line of symbols/BUILDID
//   SymbolLine        each of its other lines
//   SourceLinesHeader the first line of symbols/BUILDID.lines
//   SourceLineEntry   a line of it behind the paths
//   SignatureFile     symbols/BUILDID.args
//
// A reader trusts no file. The types here decode what can be decoded, and check only what they
// say that they check; the recording reader bounds sizes and checks what becomes a file's name.

/// Names that the recorder and the recording reader agree on.
public enum RecordingFormat {
  /// The schema's name and version, as session.json has it.
  public static let schema = "nopscope.recording/1"
  /// The name of the file that holds the `Session`.
  public static let sessionName = "session.json"
  /// The name of the file that holds a `ProcessLine` for each process.
  public static let processesName = "processes"
  /// The name of the file of context switches: `nrec_switches_header`, then `nrec_switch`es.
  public static let switchesName = "switches"
  /// The folder of the symbol files.
  public static let symbolsName = "symbols"
  /// What the name of a `SignatureFile` ends with, behind its symbol file's name.
  public static let argumentsSuffix = ".args"
  /// What the name of a file of source lines ends with, behind its symbol file's name.
  public static let linesSuffix = ".lines"
  /// Bytes of session.json that are read: more is no session.
  public static let longestSession = 64 << 20

  /// Whether `session`, the bytes of a session.json, is a recording's, of any version.
  ///
  /// Zero bytes at the end are what a file can have that was not written out when the power went.
  public static func isSession(_ session: [UInt8]) -> Bool {
    struct Schema: Decodable { var schema: String }
    guard session.count <= longestSession,
      let last = session.lastIndex(where: { $0 != 0 }),
      let found = RecordingJSON.decode(Schema.self, from: session[...last])
    else { return false }
    return found.schema.hasPrefix("nopscope.recording/")
  }
}
