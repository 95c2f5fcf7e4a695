// SPDX-License-Identifier: Apache-2.0

import CallSites
import CommandOutput
import FunctionNames
import TextFormat

/// The table of `nopscope sites`; empty where the file has none.
func sitesText(_ table: SiteTable, _ names: NameStyle) -> String {
  if table.sites.isEmpty { return "" }
  let width = max(8, table.sites.last.map { "\($0.offset)".count } ?? 0)
  let columns = TextTable([
    .init("OFFSET", width: width), .init("LEN"), .init("FORM", width: 6),
    .init("KIND", width: 9), .init("FUNCTION"),
  ])
  var text = columns.head
  for site in table.sites {
    let name = table.functionName(of: site).map { neutralised(names.name($0)) } ?? "?"
    text += columns.line([
      "\(site.offset)", "\(site.length)", site.form.name, site.kind.name,
      "\(name)+\(hexAddress(site.functionOffset))",
    ])
  }
  return text
}

/// The lines of `nopscope sites --skipped`.
func skippedText(_ table: SiteTable) -> String {
  let columns = TextTable([.init("OFFSET", width: 10), .init("REASON")])
  return table.skipped.map { columns.line(["\($0.offset)", "\($0.reason)"]) }.joined()
}
