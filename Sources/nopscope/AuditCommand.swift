// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CommandOutput
import FoundationEssentials
import LivePatching
import TextFormat

struct AuditCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "audit",
    abstract: "Compare a process's text with the files that it was loaded from.",
    discussion: """
      Names every byte of every module's executable memory that is not the byte of its file: \
      breakpoints, probes, hooks, patched call sites. Nothing is written and no thread is stopped. \
      Places are link-time addresses, as nm and objdump show them; @0x marks offsets in files \
      that have none.

      EXAMPLES
        nopscope audit 1234
        nopscope audit $(pidof nginx) --json | jq '.differences[].module'

      EXIT STATUS
        0   no byte differs, but for nopscope's own jump in the loader
        1   some do
        2   the process cannot be audited
        64  the command line is wrong
      """)

  @Argument(help: "The process.")
  var pid: Int32

  @Flag(help: "Write one JSON document, schema nopscope.audit/1.")
  var json = false

  func validate() throws {
    if pid <= 0 { throw ValidationError("a process has a number above 0, and this is \(pid)") }
  }

  func run() throws {
    let report: AuditReport
    do throws(AuditError) {
      report = try auditText(of: pid)
    } catch {
      complain("\(error)")
      throw ExitCode(2)
    }
    if json { try printJSON(report) } else { printText(report) }
    if !report.unknownDifferences.isEmpty || report.bytesUnlisted > 0 { throw ExitCode(1) }
  }
}

// MARK: - Text

extension AuditCommand {
  private func printText(_ report: AuditReport) {
    var lines = report.differences.map { "\($0)" }
    if report.bytesUnlisted > 0 {
      lines.append("... and \(grouped(Int(clamping: report.bytesUnlisted))) differing bytes more")
    }
    lines += report.uncompared.map { part in
      "\(part.module): 0x\(String(part.address, radix: 16)), \(grouped(Int(clamping: part.length)))"
        + " bytes, not compared: \(part.reason)"
    }
    lines.append(summary(report))
    write(lines.map { neutralised($0) + "\n" }.joined(), to: 1)
  }

  /// `12 modules, 3.4 MB of text compared, 0 bytes differ`.
  private func summary(_ report: AuditReport) -> String {
    let modules = report.modules.count
    let differing = report.bytesDiffering
    var text =
      "\(grouped(modules)) module\(modules == 1 ? "" : "s"), "
      + "\(megabytes(report.bytesCompared)) MB of text compared, "
      + "\(grouped(Int(clamping: differing))) byte\(differing == 1 ? " differs" : "s differ")"
    if !report.uncompared.isEmpty {
      let bytes = report.uncompared.reduce(UInt64(0)) { $0 &+ $1.length }
      text += ", \(megabytes(bytes)) MB not compared"
    }
    return text
  }

  /// Millions of bytes with one digit after the point.
  private func megabytes(_ bytes: UInt64) -> String {
    let tenths = Int(clamping: bytes / 100_000 + (bytes % 100_000 >= 50_000 ? 1 : 0))
    return "\(grouped(tenths / 10)).\(tenths % 10)"
  }
}

// MARK: - JSON

/// The document of `audit --json`.
///
/// Addresses are numbers; bytes are text, `e8 fb fc ff ff`.
private struct AuditDocument: Encodable {
  struct Difference: Encodable {
    var module: String
    var address, fileOffset: UInt64
    var linkAddress: UInt64?
    var file, live: String
    /// By nopscope, and known to be.
    var isOurs: Bool

    enum CodingKeys: CodingKey {
      case module, address, fileOffset, linkAddress, file, live, isOurs
    }

    func encode(to encoder: any Encoder) throws {
      var container = encoder.container(keyedBy: CodingKeys.self)
      try container.encode(module, forKey: .module)
      try container.encode(address, forKey: .address)
      try container.encode(fileOffset, forKey: .fileOffset)
      // Spelled out: a synthesised encoder leaves a missing one out.
      try container.encode(linkAddress, forKey: .linkAddress)
      try container.encode(file, forKey: .file)
      try container.encode(live, forKey: .live)
      try container.encode(isOurs, forKey: .isOurs)
    }
  }

  struct Uncompared: Encodable {
    var module: String
    var address, length: UInt64
    var reason: String
  }

  var schema = "nopscope.audit/1"
  var pid: Int32
  var modules: [String]
  var bytesCompared, bytesDiffering, bytesUnlisted: UInt64
  var differences: [Difference]
  var uncompared: [Uncompared]
}

extension AuditCommand {
  private func printJSON(_ report: AuditReport) throws {
    let document = AuditDocument(
      pid: pid, modules: report.modules, bytesCompared: report.bytesCompared,
      bytesDiffering: report.bytesDiffering, bytesUnlisted: report.bytesUnlisted,
      differences: report.differences.map {
        AuditDocument.Difference(
          module: $0.module, address: $0.address, fileOffset: $0.fileOffset,
          linkAddress: $0.linkAddress, file: hexadecimal($0.fileBytes),
          live: hexadecimal($0.liveBytes), isOurs: $0.isKnown)
      },
      uncompared: report.uncompared.map {
        AuditDocument.Uncompared(
          module: $0.module, address: $0.address, length: $0.length, reason: "\($0.reason)")
      })
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    write(String(decoding: try encoder.encode(document), as: UTF8.self) + "\n", to: 1)
  }
}
