// SPDX-License-Identifier: Apache-2.0

import CRecorder
import CallSites
import Glibc
import MachineCode
import TextFormat

/// What can be traced of one program: of itself and of the libraries that the loader loads with it.
///
/// Libraries that the program opens later with dlopen are not known here.
public struct ProgramReport: Sendable {
  /// The call sites of the program or of one library.
  public struct Module: Sendable {
    /// Of its file.
    public var path: String
    /// Lower-case hexadecimal; nil where the file has none.
    public var buildID: String?
    /// By name of form: `e8` 12.
    public var forms: [(name: String, count: Int)]
    /// By name of kind: `mcount` 12.
    public var kinds: [(name: String, count: Int)]
    /// Number of call sites.
    public var sites: Int
    /// Places that looked like call sites and are none.
    public var skipped: Int
    /// Sites whose entry is seen and whose return is not.
    public var entryOnly: Int
    /// Of these, functions that look at their return address, or hand it over to dlopen, dlsym and
    /// their like.
    public var returnAddressUsers: Int
    /// Where its functions' names come from; nil where it cannot be read.
    public var names: String?
    /// Why files of debug symbols that are there are not used, one line each.
    public var nameProblems: [String] = []
    /// Why nothing of it is traced; nil where something is.
    public var reason: String?
  }

  /// What would be run.
  public let program: TargetProgram
  /// The program, then the libraries in the loader's order.
  public private(set) var modules: [Module] = []
  /// Libraries that the loader does not find.
  public private(set) var missing: [String] = []

  /// Call sites that a recording of the program can use.
  public var sites: Int { modules.reduce(0) { $0 + ($1.reason == nil ? $1.sites : 0) } }

  private static let uninstrumented =
    "no instrumented function: compile with -pg or -fpatchable-function-entry=5"

  /// Reads the files of `program` and of its libraries. Nothing of them runs.
  public init(_ program: TargetProgram) throws {
    self.program = program
    let decoder = try Decoder()
    for path in [program.image] + libraries() { modules.append(Self.look(path, decoder)) }
  }

  private static func look(_ path: String, _ decoder: Decoder) -> Module {
    var module = Module(
      path: path, buildID: nil, forms: [], kinds: [], sites: 0, skipped: 0, entryOnly: 0,
      returnAddressUsers: 0, reason: nil)
    do {
      let table = try SiteTable.load(path: path, decoder: decoder)
      let sites = FileSites(table, decoder: decoder)
      module.buildID = table.buildID.map { hexDigits($0) }
      module.forms = counts(table.sites.map(\.form.name))
      module.kinds = counts(table.sites.map(\.kind.name))
      module.sites = sites.entries.count
      module.skipped = sites.skipped
      module.entryOnly = sites.entries.filter(\.isEntryOnly).count
      let users = try table.returnAddressUsers().functionStarts
      module.returnAddressUsers = table.sites.count { users.contains($0.functionStart) }
      module.names = "\(table.nameOrigin)"
      module.nameProblems = table.nameOrigin.refusals.map { "\($0)" }
      if sites.entries.isEmpty {
        module.reason = uninstrumented
      } else if sites.hasTextRelocations {
        module.reason = "it has text relocations (DT_TEXTREL): link it position independent"
      }
    } catch {
      module.reason = "\(error)"
    }
    return module
  }

  private static func counts(_ names: [String]) -> [(name: String, count: Int)] {
    var counts: [String: Int] = [:]
    for name in names { counts[name, default: 0] += 1 }
    return counts.sorted { $0.key < $1.key }.map { (name: $0.key, count: $0.value) }
  }
}

// MARK: - Libraries

extension ProgramReport {
  /// glibc's loader, started by its own path: a program's PT_INTERP may be anything, and this runs
  /// nothing of the program's.
  private static let loader = "/lib64/ld-linux-x86-64.so.2"

  /// The paths of all libraries, as the loader lists them.
  private mutating func libraries() -> [String] {
    var paths: [String] = []
    for line in Self.listing(of: program.image).split(separator: "\n") {
      let words = line.split { $0 == " " || $0 == "\t" }
      if let arrow = words.firstIndex(of: "=>"), arrow + 1 < words.count, let name = words.first {
        if words[arrow + 1] == "not" {
          missing.append(String(name))
        } else {
          paths.append(String(words[arrow + 1]))
        }
      } else if let first = words.first, first.hasPrefix("/"), words.count == 2 {
        paths.append(String(first))
      }
    }
    return paths
  }

  private static func listing(of image: String) -> String {
    var ends: [Int32] = [-1, -1]
    let null = Descriptor(open("/dev/null", O_WRONLY | O_CLOEXEC))
    guard nrc_pipe(&ends) == 0 else { return "" }
    let reading = Descriptor(ends[0])
    let child = spawn([loader, "--list", image], output: ends[1], error: null.number)
    close(ends[1])
    guard let child else { return "" }
    var text: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 4096)
    while text.count < 1 << 20 {
      let got = read(reading.number, &piece, piece.count)
      if got < 0, errno == EINTR { continue }
      if got <= 0 { break }
      text += piece[..<got]
    }
    var status: Int32 = 0
    while waitpid(child, &status, 0) < 0 && errno == EINTR {}
    return String(decoding: text, as: UTF8.self)
  }

  private static func spawn(_ words: [String], output: Int32, error: Int32) -> pid_t? {
    var arguments = words.map { strdup($0) as UnsafeMutablePointer<CChar>? } + [nil]
    defer { for text in arguments { free(text) } }
    var child: pid_t = 0
    let status = words[0].withCString { path in
      arguments.withUnsafeMutableBufferPointer { arguments in
        var options = nrc_spawn_options()
        options.path = path
        options.arguments = UnsafePointer(arguments.baseAddress)
        options.environment = UnsafePointer(environ)
        options.output = output
        options.error = error
        return nrc_spawn(&options, &child)
      }
    }
    return status == 0 ? child : nil
  }
}
