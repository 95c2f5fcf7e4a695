// SPDX-License-Identifier: Apache-2.0

import RecordingSchema
import Synchronization
import Units

/// The names of one module's call sites, from `symbols/`.
final class SymbolFile: Sendable {
  let modulePath: String
  /// In table order: the function's number is the module's first plus the index.
  let sites: [SymbolLine]
  /// Nil where all is well; else one line.
  let problem: String?
  /// Where the functions of the sites are defined.
  let sourceLines: SourceLineFile
  /// What is recorded with calls of their functions.
  let signatures: SignatureFile
  /// Nil where all is well with those, also where there are none; else one line.
  let signatureProblem: String?

  /// What is beyond is not read.
  private static let longestFile = 512 << 20

  /// Without names where it cannot be read: `problem` says why.
  init(path: String, name: String, module: String) {
    let bytes: [UInt8]
    do {
      bytes = try textFile(path, limit: Self.longestFile)
    } catch {
      modulePath = ""
      sites = []
      sourceLines = SourceLineFile()
      signatures = SignatureFile()
      signatureProblem = nil
      problem = "symbols/\(name): \(error.reason): no names for \(module)"
      return
    }
    var lines = bytes[...]
    guard let header = SymbolHeader(Self.nextLine(&lines)) else {
      modulePath = ""
      sites = []
      sourceLines = SourceLineFile()
      signatures = SignatureFile()
      signatureProblem = nil
      problem = "symbols/\(name): expected \"nopscope.symbols 1 COUNT PATH\" in line 1: no names"
      return
    }
    modulePath = header.path
    var sites: [SymbolLine] = []
    var wrong: Int?
    while !lines.isEmpty && sites.count < header.count {
      guard let site = SymbolLine(Self.nextLine(&lines)) else {
        wrong = sites.count
        break
      }
      sites.append(site)
    }
    self.sites = sites
    let suffix = RecordingFormat.linesSuffix
    sourceLines = SourceLineFile(path: path + suffix, name: name + suffix, sites: sites.count)
    let argumentsSuffix = RecordingFormat.argumentsSuffix
    (signatures, signatureProblem) = Self.signatures(
      path: path + argumentsSuffix, name: name + argumentsSuffix)
    if let wrong {
      problem =
        "symbols/\(name):\(wrong + 2): expected OFFSET, FLAGS and NAME between tabs: "
        + "no names from here on"
    } else if sites.count != header.count {
      problem = "symbols/\(name): expected \(header.count) names, found \(sites.count): truncated?"
    } else {
      problem = nil
    }
  }

  /// What is beyond is not read.
  private static let longestSignatures = 64 << 20

  private static func signatures(path: String, name: String) -> (SignatureFile, String?) {
    let bytes: [UInt8]
    do {
      bytes = try textFile(path, limit: longestSignatures)
    } catch {
      let problem = error.isAbsence ? nil : "symbols/\(name): \(error.reason): no arguments"
      return (SignatureFile(), problem)
    }
    var wrong = 0
    guard let file = SignatureFile(bytes, wrong: &wrong) else {
      return (
        SignatureFile(),
        "symbols/\(name): expected \"nopscope.args 1 COUNT COUNT\" in line 1: no arguments"
      )
    }
    let problem =
      wrong == 0
      ? nil
      : "symbols/\(name): lines that are wrong or missing: arguments of some functions are not shown"
    return (file, problem)
  }

  /// The module's path in a symbol file's first line.
  static func modulePath(ofFile path: String) -> String? {
    guard let bytes = try? textFile(path, limit: 8192) else { return nil }
    var lines = bytes[...]
    return SymbolHeader(nextLine(&lines))?.path
  }

  static func nextLine(_ bytes: inout ArraySlice<UInt8>) -> ArraySlice<UInt8> {
    let end = bytes.firstIndex(of: UInt8(ascii: "\n")) ?? bytes.endIndex
    let line = bytes[bytes.startIndex..<end]
    bytes = bytes[min(end + 1, bytes.endIndex)...]
    return line
  }

  /// The last site at or before a link-time address: the function that most likely holds it.
  func site(atOrBefore offset: ModuleOffset) -> SymbolLine? {
    let byOffset = byOffset
    var low = 0
    var high = byOffset.count
    while low < high {
      let middle = (low + high) / 2
      if sites[Int(byOffset[middle])].offset <= offset { low = middle + 1 } else { high = middle }
    }
    return low > 0 ? sites[Int(byOffset[low - 1])] : nil
  }

  /// Site indices by offset, made at the first look-up of an address.
  private let sorted = Mutex<[UInt32]?>(nil)

  private var byOffset: [UInt32] {
    sorted.withLock { sorted in
      if let sorted { return sorted }
      let made = sites.indices.map(UInt32.init).sorted {
        sites[Int($0)].offset < sites[Int($1)].offset
      }
      sorted = made
      return made
    }
  }
}
