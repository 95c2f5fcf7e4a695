// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CallSites
import CommandOutput
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
      try writeJSON(SitesDocument(file, table), schema: "sites")
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
    let width = max(8, table.sites.last.map { "\($0.offset)".count } ?? 0)
    let columns = TextTable([
      .init("OFFSET", width: width), .init("LEN"), .init("FORM", width: 6),
      .init("KIND", width: 9), .init("FUNCTION"),
    ])
    var text = columns.head
    for site in table.sites {
      let name = table.functionName(of: site).map(neutralised) ?? "?"
      text += columns.line([
        "\(site.offset)", "\(site.length)", site.form.name, site.kind.name,
        "\(name)+\(hexAddress(site.functionOffset))",
      ])
    }
    write(text, to: 1)
  }

  private func printSkipped(_ table: SiteTable) {
    let columns = TextTable([.init("OFFSET", width: 10), .init("REASON")])
    let lines = table.skipped.map { columns.line(["\($0.offset)", "\($0.reason)"]) }
    write(lines.joined(), to: 1)
  }
}
