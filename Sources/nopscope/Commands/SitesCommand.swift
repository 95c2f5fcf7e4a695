// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CallSites
import CommandOutput
import FunctionNames
import MachineCode

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

  @Option(help: nameStyleHelp)
  var names = NameStyle.short

  @Flag(help: "Write one JSON document, schema nopscope.sites/1.")
  var json = false

  @Flag(help: "List what is skipped, with the reason, instead of the sites.")
  var skipped = false

  func run() throws {
    let table: SiteTable
    let progress = Progress("searching \(file)")
    do {
      table = try SiteTable.load(path: file, decoder: Decoder())
      progress.finish()
    } catch {
      progress.finish()
      complain("\(error)")
      throw ExitCode(1)
    }
    if json {
      try writeJSON(SitesDocument(file, table, names), schema: "sites")
    } else if skipped {
      write(skippedText(table), to: 1)
    } else {
      write(sitesText(table, names), to: 1)
    }
    if !table.sites.isEmpty {
      for refusal in table.nameOrigin.refusals { complain("\(refusal)") }
    }
    if table.sites.isEmpty {
      complain(noSites(file, table))
      throw ExitCode(1)
    }
    if !json { write(summary(table) + "\n", to: 2) }
  }
}
