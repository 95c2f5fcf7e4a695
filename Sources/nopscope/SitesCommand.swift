// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CallSites
import CommandOutput
import FoundationEssentials
import MachineCode
import TextFormat

struct SitesCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "sites",
    abstract: "List the call sites of an ELF file.",
    discussion: """
      Lists every call to mcount or __fentry__ and every patchable function entry, each confirmed \
      by Capstone from its function's start: link-time address, length, form, kind, function. A \
      table written by nopscope recordmcount is used where the file has one and it is this \
      build's; otherwise the text is searched.

      EXAMPLES
        nopscope sites libfoo.so
        nopscope sites libfoo.so --json | jq '.sites[].function'
        nopscope sites libfoo.so --skipped

      EXIT STATUS
        0  the file has call sites
        1  it has none, or cannot be read
        64 the command line is wrong
      """)

  @Argument(help: "An ELF executable or shared object for x86-64.", completion: .file())
  var file: String

  @Flag(help: "Write one JSON document, schema nopscope.sites/1.")
  var json = false

  @Flag(help: "List what is skipped, with the reason, instead of the sites.")
  var skipped = false

  func run() throws {
    let table: SiteTable
    do {
      table = try SiteTable.load(path: file, decoder: Decoder())
    } catch {
      complain("\(error)")
      throw ExitCode(1)
    }
    if json {
      try printJSON(table)
    } else if skipped {
      printSkipped(table)
    } else {
      printSites(table)
    }
    if table.sites.isEmpty {
      complain(noSites(file, table))
      throw ExitCode(1)
    }
    if !json { write(summary(table) + "\n", to: 2) }
  }
}

// MARK: - Text

extension SitesCommand {
  private func printSites(_ table: SiteTable) {
    if table.sites.isEmpty { return }
    let width = max(8, String(table.sites.last?.offset ?? 0, radix: 16).count + 2)
    var text = padded("OFFSET", width) + "  LEN  FORM    KIND       FUNCTION\n"
    for site in table.sites {
      let offset = "0x" + String(site.offset, radix: 16)
      text += padded(offset, width) + "  " + padded("\(site.length)", 3) + "  "
      text += padded(site.form.name, 6) + "  " + padded(site.kind.name, 9) + "  "
      text += table.functionName(of: site).map(neutralised) ?? "?"
      text += "+0x" + String(site.functionOffset, radix: 16) + "\n"
    }
    write(text, to: 1)
  }

  private func printSkipped(_ table: SiteTable) {
    var text = ""
    for site in table.skipped {
      text += padded("0x" + String(site.offset, radix: 16), 10) + "  \(site.reason)\n"
    }
    write(text, to: 1)
  }

  private func padded(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(0, width - text.count))
  }
}

// MARK: - JSON

/// The document of `sites --json`.
private struct SitesDocument: Encodable {
  struct Site: Encodable {
    var offset: UInt64
    var length: Int
    var form, kind: String
    var function: String?

    enum CodingKeys: CodingKey { case offset, length, form, kind, function }

    func encode(to encoder: any Encoder) throws {
      var container = encoder.container(keyedBy: CodingKeys.self)
      try container.encode(offset, forKey: .offset)
      try container.encode(length, forKey: .length)
      try container.encode(form, forKey: .form)
      try container.encode(kind, forKey: .kind)
      // Spelled out: a synthesised encoder leaves an unknown function out.
      try container.encode(function, forKey: .function)
    }
  }
  struct Skipped: Encodable {
    var offset: UInt64
    var reason: String
  }

  var schema = "nopscope.sites/1"
  var file: String
  var buildID: String?
  var sites: [Site]
  var skipped: [Skipped]

  enum CodingKeys: CodingKey { case schema, file, buildID, sites, skipped }

  func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(schema, forKey: .schema)
    try container.encode(file, forKey: .file)
    try container.encode(buildID, forKey: .buildID)
    try container.encode(sites, forKey: .sites)
    try container.encode(skipped, forKey: .skipped)
  }
}

extension SitesCommand {
  private func printJSON(_ table: SiteTable) throws {
    let document = SitesDocument(
      file: file, buildID: table.buildID.map(hexadecimal),
      sites: table.sites.map { site in
        SitesDocument.Site(
          offset: site.offset, length: site.length, form: site.form.name, kind: site.kind.name,
          function: table.functionName(of: site))
      },
      skipped: table.skipped.map { SitesDocument.Skipped(offset: $0.offset, reason: $0.reason) })
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    write(String(decoding: try encoder.encode(document), as: UTF8.self) + "\n", to: 1)
  }

  private func hexadecimal(_ bytes: [UInt8]) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }
}
