// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CallSites
import CommandOutput
import MachineCode
import TextFormat

struct RecordMcountCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "recordmcount",
    abstract: "Write a file's call sites into the file, as a section bound to its build-id.",
    discussion: """
      Finds the call sites as nopscope sites does and appends them to the file as the section \
      .nopscope.sites. Of the bytes that the loader loads, one field of the ELF header changes: \
      where the section headers are. Run it after linking and before stripping: the table stays \
      right when the symbols are gone. A second run replaces the table.

      EXAMPLES
        cc -shared -fPIC -pg -Wl,--build-id foo.c -o libfoo.so
        nopscope recordmcount libfoo.so
        nopscope recordmcount libfoo.so -o libfoo.recorded.so

      EXIT STATUS
        0  the table was written
        1  it was not: no call sites, no build-id, not readable, not writable
        64 the command line is wrong
      """)

  @Argument(help: "A linked ELF file with a build-id.", completion: .file())
  var file: String

  @Option(
    name: .shortAndLong, help: "Write the result there and leave FILE as it is.",
    completion: .file())
  var output: String?

  func run() throws {
    let progress = Progress("searching \(file)")
    defer { progress.finish() }
    do {
      let table = try SiteTable.discover(path: file, decoder: Decoder())
      progress.finish()
      if table.sites.isEmpty {
        complain(noSites(file, table))
        throw ExitCode(1)
      }
      try table.record(to: output)
      write("\(neutralised(output ?? file)): \(summary(table)) recorded\n", to: 2)
    } catch let exit as ExitCode {
      throw exit
    } catch {
      progress.finish()
      complain("\(error)")
      throw ExitCode(1)
    }
  }
}
