// SPDX-License-Identifier: Apache-2.0

import CallSites
import TextFormat

/// `4,812 sites (4,790 e8, 22 ff15), 3 skipped`.
func summary(_ table: SiteTable) -> String {
  var counts = [Int](repeating: 0, count: CallSite.Form.allCases.count)
  for site in table.sites { counts[Int(site.form.rawValue)] += 1 }
  let forms = CallSite.Form.allCases.compactMap { form in
    let count = counts[Int(form.rawValue)]
    return count > 0 ? "\(grouped(count)) \(form.name)" : nil
  }
  return "\(counted(table.sites.count, "site")) "
    + "(\(forms.joined(separator: ", "))), \(grouped(table.skipped.count)) skipped"
}

/// The error of a file without call sites, and how to get some.
func noSites(_ file: String, _ table: SiteTable) -> String {
  let skipped =
    table.skipped.isEmpty
    ? "" : ", \(grouped(table.skipped.count)) skipped (nopscope sites --skipped)"
  return "\(file): no call sites found\(skipped): compile with -pg or -fpatchable-function-entry=5"
}
