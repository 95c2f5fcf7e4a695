// SPDX-License-Identifier: Apache-2.0

import CPatchCore
import Glibc
public import Units

#if !arch(x86_64) || !os(Linux)
#error("nopscope patches x86-64 machine code on Linux; this is another architecture or system")
#endif

/// A loaded ELF object of this process, as the loader listed it. Its identity is its build-id and
/// its generation; the address is no identity: another module may get it later.
public struct LoadedModule: Equatable, Sendable {
  /// As the loader names it; the program itself is "".
  public var name: String
  /// nil: the file was linked without one.
  public var buildID: [UInt8]?
  /// Run-time address minus link-time address.
  public var loadBias: LoadBias
  /// The hull of its executable segments.
  public var text: Range<CodeAddress>
  /// The hull of all its segments.
  public var span: Range<CodeAddress>
  /// How many modules the loader had unloaded when this was taken (`dlpi_subs`): while the count
  /// stays the same, nothing that was listed has been unloaded.
  public var unloadCount: UInt64

  /// The modules of this namespace, in the loader's order.
  public static func all() -> [LoadedModule] {
    var capacity = 64
    while true {
      // Copied by C: nothing may be allocated while the loader's lock is held.
      let records = UnsafeMutablePointer<npc_module_copy>.allocate(capacity: capacity)
      defer { records.deallocate() }
      let count = npc_modules_copy(records, capacity)
      if count <= capacity { return (0..<count).map { LoadedModule(records[$0]) } }
      capacity = count + 16
    }
  }

  /// The first loaded module with that build-id.
  public static func find(buildID: [UInt8]) -> LoadedModule? {
    all().first { $0.buildID == buildID }
  }

  /// The module of that build at that load bias: two copies of one file may be loaded.
  static func find(buildID: [UInt8]?, loadBias: LoadBias) -> LoadedModule? {
    all().first { $0.buildID == buildID && $0.loadBias == loadBias }
  }

  /// The module that `address` lies in.
  public static func find(containing address: CodeAddress) -> LoadedModule? {
    all().first { $0.span.contains(address) }
  }

  private init(_ record: npc_module_copy) {
    name = withUnsafeBytes(of: record.name) {
      String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
    }
    let length = Int(record.build_id_length)
    buildID =
      length == 0 ? nil : withUnsafeBytes(of: record.build_id) { [UInt8]($0.prefix(length)) }
    loadBias = LoadBias(record.load_bias)
    text = CodeAddress(record.text_start)..<CodeAddress(record.text_end)
    span = CodeAddress(record.span_start)..<CodeAddress(record.span_end)
    unloadCount = record.subs
  }
}
