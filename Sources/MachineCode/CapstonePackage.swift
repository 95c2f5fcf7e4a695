// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Which package brings a Capstone that the decoder can use, for the message when there is none.
enum CapstonePackage {
  /// `apt-get install libcapstone5`, with the name that the release of this machine has.
  static func advice() -> String {
    advice(forRelease: contents(of: "/etc/os-release"))
  }

  /// The same for the release that a text of os-release(5) describes.
  ///
  /// Debian 12 and Ubuntu 24.04 have Capstone 4; Debian 13 has Capstone 5. Of other releases
  /// nothing is known here.
  static func advice(forRelease text: String) -> String {
    let fields = fields(of: text)
    let version = fields["VERSION_ID"].flatMap(Double.init)
    switch (fields["ID"], version) {
    case ("debian", let version?) where version < 13: return "apt-get install libcapstone4"
    case ("debian", _): return "apt-get install libcapstone5"
    case ("ubuntu", let version?) where version <= 24.04: return "apt-get install libcapstone4"
    default: return "install your system's package of Capstone 4 or 5 (libcapstone4, libcapstone5)"
    }
  }

  /// `ID=debian` and `VERSION_ID="12"`, a line each.
  private static func fields(of text: String) -> [String: String] {
    var fields: [String: String] = [:]
    for line in text.split(separator: "\n") {
      guard let equals = line.firstIndex(of: "=") else { continue }
      let value = line[line.index(after: equals)...]
      fields[String(line[..<equals])] = String(value.filter { $0 != "\"" && $0 != "'" })
    }
    return fields
  }

  private static func contents(of path: String) -> String {
    guard let file = fopen(path, "r") else { return "" }
    defer { fclose(file) }
    var bytes = [UInt8](repeating: 0, count: 8192)
    let count = fread(&bytes, 1, bytes.count, file)
    return String(decoding: bytes[..<count], as: UTF8.self)
  }
}
