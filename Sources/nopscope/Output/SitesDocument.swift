// SPDX-License-Identifier: Apache-2.0

import CallSites
import FunctionNames
import TextFormat

/// The document of `sites --json`.
struct SitesDocument: Encodable {
  struct Site: Encodable {
    var offset: UInt64
    var length: Int
    var form, kind: String
    /// As `--names` says, and as in the ELF file.
    var function, linkedName: String?
  }
  struct Skipped: Encodable {
    var offset: UInt64
    var reason: String
  }

  var file: String
  var buildID: String?
  var sites: [Site]
  var skipped: [Skipped]

  init(_ file: String, _ table: SiteTable, _ names: NameStyle) {
    self.file = file
    buildID = table.buildID.map { hexDigits($0) }
    sites = table.sites.map { site in
      let linked = table.functionName(of: site)
      return Site(
        offset: site.offset.rawValue, length: site.length, form: site.form.name,
        kind: site.kind.name,
        function: linked.map(names.name), linkedName: linked)
    }
    skipped = table.skipped.map { Skipped(offset: $0.offset.rawValue, reason: $0.reason) }
  }
}
