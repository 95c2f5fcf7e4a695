// SPDX-License-Identifier: Apache-2.0

import Audit
import TextFormat

/// The report as text: one finding a line, and the sum.
struct AuditText {
  let report: AuditReport

  var text: String {
    var lines = report.differences.map { "\($0)" }
    if report.bytesUnlisted > 0 {
      lines.append("... and \(grouped(report.bytesUnlisted)) more bytes that differ")
    }
    lines += report.uncompared.map { part in
      "\(part.module): \(part.address), \(grouped(part.length))"
        + " bytes, not compared: \(part.reason)"
    }
    lines.append(summary)
    return lines.map { neutralised($0) + "\n" }.joined()
  }

  /// `12 modules, 3.4 MB of text compared, 0 bytes differ`.
  private var summary: String {
    let modules = report.modules.count
    let differing = report.bytesDiffering
    var text =
      "\(counted(modules, "module")), "
      + "\(megabytes(report.bytesCompared)) MB of text compared, "
      + "\(grouped(differing)) byte\(differing == 1 ? " differs" : "s differ")"
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
