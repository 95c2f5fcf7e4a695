// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Audit
import CommandOutput

struct AuditCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "audit",
    abstract: "Compare a process's text with the files that it was loaded from.",
    discussion: """
      Lists every byte of executable memory that differs from the file it was loaded from: \
      breakpoints, probes, hooks, patched call sites. The audit writes nothing and stops no \
      thread. It shows link-time addresses, as nm and objdump do; @0x marks an offset in a file \
      that has none.

      EXAMPLES
        nopscope audit 1234
        nopscope audit $(pidof nginx) --json | jq '.differences[].module'

      EXIT STATUS
        0   no byte differs, except nopscope's own jump in the loader
        1   some bytes differ
        2   the process cannot be audited
        64  the command line is wrong
      """)

  @Argument(help: "The process.")
  var pid: Int32

  @Flag(help: "Write one JSON document, schema nopscope.audit/1.")
  var json = false

  func validate() throws {
    if pid <= 0 { throw ValidationError("expected a process number above 0, found \(pid)") }
  }

  func run() throws {
    let report: AuditReport
    let progress = Progress("auditing \(pid)")
    do throws(AuditError) {
      report = try auditText(of: pid)
      progress.finish()
    } catch {
      progress.finish()
      complain("\(error)")
      throw ExitCode(2)
    }
    if json {
      try writeJSON(AuditDocument(pid, report), schema: "audit")
    } else {
      write(AuditText(report: report).text, to: 1)
    }
    if !report.unknownDifferences.isEmpty || report.bytesUnlisted > 0 { throw ExitCode(1) }
  }
}
