// SPDX-License-Identifier: Apache-2.0

import Audit
import TextFormat

/// The document of `audit --json`.
///
/// Addresses are numbers; bytes are text, `e8 fb fc ff ff`.
struct AuditDocument: Encodable {
  struct Difference: Encodable {
    var module: String
    var address, fileOffset: UInt64
    var linkAddress: UInt64?
    var file, live: String
    /// By nopscope, and known to be.
    var isOurs: Bool
  }

  struct Uncompared: Encodable {
    var module: String
    var address, length: UInt64
    var reason: String
  }

  var pid: Int32
  var modules: [String]
  var bytesCompared, bytesDiffering, bytesUnlisted: UInt64
  var differences: [Difference]
  var uncompared: [Uncompared]

  init(_ pid: Int32, _ report: AuditReport) {
    self.pid = pid
    modules = report.modules
    bytesCompared = report.bytesCompared
    bytesDiffering = report.bytesDiffering
    bytesUnlisted = report.bytesUnlisted
    differences = report.differences.map {
      Difference(
        module: $0.module, address: $0.address.rawValue, fileOffset: $0.fileOffset,
        linkAddress: $0.linkAddress?.rawValue, file: hexDigits($0.fileBytes, separator: " "),
        live: hexDigits($0.liveBytes, separator: " "), isOurs: $0.isKnown)
    }
    uncompared = report.uncompared.map {
      Uncompared(
        module: $0.module, address: $0.address.rawValue, length: $0.length,
        reason: "\($0.reason)")
    }
  }
}
