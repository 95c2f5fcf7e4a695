// SPDX-License-Identifier: Apache-2.0

import CRecorder
import CRecordingABI
import CSourceLines
import ELFImage
import Glibc
import RecordingSchema
import TextFormat

/// Finds what is to be read at the sites of functions that `--args` names: by DWARF, or as a rule spells it
/// out. Each file is looked at once.
///
/// A traced program waits meanwhile, so reading DWARF has a time limit.
final class ArgumentReader {
  /// Of one module.
  struct Readings {
    /// By site.
    var fetches: [Int: [nrec_fetch]] = [:]
    /// Nil: it was written before.
    var file: SignatureFile?
    /// What the user should know, one line each.
    var warnings: [String] = []
  }

  private let debugFiles: DebugFiles
  private let library: String
  /// By the name of its symbols: the rules that name functions of it, and what they led to.
  private var known: [String: (rules: [Int: ArgumentRule], fetches: [Int: [nrec_fetch]])] = [:]
  /// What is left for reading DWARF, of all files.
  private var nanoseconds: UInt64
  private var isLibraryMissing = false

  private static let mostKnown = 4096
  /// Of a module.
  static let mostFunctions = 4096

  init(
    debugFiles: DebugFiles, library: String = "libdw.so.1", nanoseconds: UInt64 = 5_000_000_000
  ) {
    self.debugFiles = debugFiles
    self.library = library
    self.nanoseconds = nanoseconds
  }

  /// What is to be read in a module that is loaded.
  ///
  /// The same file may come by another path, for which the rules name other functions: all of them are
  /// in its one file of signatures.
  func readings(of plan: Plan, _ module: TracedModule, _ sites: FileSites) -> Readings {
    var rules = plan.valued
    if let last = known[module.symbolsName] {
      if rules.keys.allSatisfy({ last.rules[$0] != nil }) {
        return Readings(fetches: last.fetches.filter { rules[$0.key] != nil })
      }
      rules.merge(last.rules) { $1 }
    }
    var readings = Readings(file: SignatureFile())
    var valued = rules.sorted { $0.key < $1.key }
    if valued.count > Self.mostFunctions {
      readings.warnings.append(
        "\(module.message.path): --args names \(valued.count) functions: arguments are recorded of the "
          + "first \(Self.mostFunctions)")
      valued = Array(valued.prefix(Self.mostFunctions))
    }
    let asked = valued.filter { $0.value.signature == nil }.map(\.key)
    var found: [Int: PassedSignature] = [:]
    if !asked.isEmpty { found = read(asked, plan, module, &readings) }
    for (site, rule) in valued {
      guard let passed = rule.signature ?? found[site] else { continue }
      let layout = Self.layout(
        passed, plan.entries[site].flags,
        isClone: rule.signature == nil
          && Self.isClone(sites.name(at: sites.entries[site].function)))
      readings.file?.functions[UInt32(site)] = layout.signature
      readings.fetches[site] = layout.fetches
    }
    if known.count >= Self.mostKnown { known = [:] }
    known[module.symbolsName] = (rules, readings.fetches)
    readings.fetches = readings.fetches.filter { plan.valued[$0.key] != nil }
    return readings
  }

  private static func layout(
    _ passed: PassedSignature, _ flags: UInt8, isClone: Bool
  ) -> ArgumentLayout {
    if isClone { return ArgumentLayout(refusing: passed) }
    let isAfterPrologue = flags & UInt8(NREC_SITE_AFTER_PROLOGUE) != 0
    // The return address that is found there is only a copy.
    let isRealigned = isAfterPrologue && flags & UInt8(NREC_SITE_ENTRY_ONLY) != 0
    return ArgumentLayout(passed, hasStack: !isRealigned, isAfterPrologue: isAfterPrologue)
  }

  /// gcc names its copies of functions that take other parameters than the source says.
  static func isClone(_ linkedName: String) -> Bool {
    [".isra.", ".constprop.", ".part.", ".cold"].contains { linkedName.contains($0) }
  }
}

// MARK: - DWARF

extension ArgumentReader {
  private func read(
    _ asked: [Int], _ plan: Plan, _ module: TracedModule, _ readings: inout Readings
  ) -> [Int: PassedSignature] {
    let path = module.message.path
    guard let file = debugFiles.lineFile(path: path, buildID: Array(module.message.buildID)) else {
      readings.warnings.append(
        "\(path): no DWARF: no arguments of the functions that --args names: compile with -g, or spell "
          + "them out: --args 'f(int id, char *name) -> int'")
      return [:]
    }
    let ordered = asked.sorted { plan.entries[$0].offset < plan.entries[$1].offset }
    let text = ask(file, ordered.map { plan.entries[$0].offset }, &readings)
    var reading = SignatureReading()
    for line in text.split(separator: "\n") { reading.read(line) }
    readings.file?.enumerations = reading.enumerations
    var found: [Int: PassedSignature] = [:]
    for (index, signature) in reading.functions where index < ordered.count {
      found[ordered[index]] = signature
    }
    let missing = ordered.count - found.count
    if missing > 0, readings.warnings.isEmpty {
      readings.warnings.append(
        "\(path): its DWARF has no parameters of \(missing) of the functions that --args names: "
          + "compiled without -g, or of another language than C and C++")
    }
    return found
  }

  private func ask(_ path: String, _ addresses: [UInt64], _ readings: inout Readings) -> String {
    var answer = nsl_text()
    defer { nsl_free_text(&answer) }
    var hasFailed = false
    let copy = path.systemCopy
    defer { free(copy) }
    let began = nrc_monotonic_nanoseconds()
    let result = addresses.withUnsafeBufferPointer { addresses in
      var module = nsl_module(
        path: copy, addresses: addresses.baseAddress, count: UInt32(addresses.count))
      return nsl_read_signatures(library, &module, nanoseconds, &answer, &hasFailed)
    }
    nanoseconds -= min(nanoseconds, nrc_monotonic_nanoseconds() - began)
    if hasFailed {
      readings.warnings.append(
        "\(path): arguments are missing: libdw failed in its DWARF: damaged?")
    }
    switch result {
    case NSL_NO_LIBRARY:
      if !isLibraryMissing {
        readings.warnings.append("no arguments: \(library) is missing: install libdw1")
      }
      isLibraryMissing = true
    case NSL_NO_MEMORY:
      readings.warnings.append("no arguments: no memory is left to read DWARF")
    case NSL_NO_TIME where !hasFailed:
      readings.warnings.append(
        "\(path): arguments of some functions are missing: reading DWARF took too long and was stopped"
      )
    default: break
    }
    guard let text = answer.text else { return "" }
    let bytes = UnsafeRawBufferPointer(start: text, count: answer.length)
    return String(decoding: bytes, as: UTF8.self)
  }
}

/// Reads what signatures.c writes. A line that is none of its counts as missing.
struct SignatureReading {
  private(set) var enumerations: [Enumeration] = []
  /// By the address's index.
  private(set) var functions: [Int: PassedSignature] = [:]

  mutating func read(_ line: Substring) {
    let fields = line.split(separator: "\t", omittingEmptySubsequences: false)
    if fields[0] == "E" { return addEnumeration(fields.dropFirst()) }
    guard fields[0] == "F", fields.count >= 3, fields.count % 2 == 1, let index = Int(fields[1]),
      index >= 0
    else { return }
    var signature = PassedSignature(parameters: [], result: nil)
    if fields[2] != "-" {
      guard let result = type(fields[2]) else { return }
      signature.result = result
    }
    for place in stride(from: 3, to: fields.count, by: 2) {
      guard let type = type(fields[place]) else { return }
      signature.parameters.append((String(fields[place + 1]), type))
    }
    functions[index] = signature
  }

  private func type(_ text: Substring) -> PassedType? {
    guard let type = PassedType(text) else { return nil }
    if case .enumeration(_, _, let index) = type.type, index >= enumerations.count { return nil }
    return type
  }

  private mutating func addEnumeration(_ fields: ArraySlice<Substring>) {
    var one = Enumeration()
    for field in fields {
      guard let equals = field.lastIndex(of: "="),
        let value = Int64(field[field.index(after: equals)...])
      else { continue }
      one.add(String(field[..<equals]), value)
    }
    enumerations.append(one)
  }
}
