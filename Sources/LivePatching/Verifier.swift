// SPDX-License-Identifier: Apache-2.0

import CMachineCode
import CPatchCore
import CallSites
public import Units

/// Capstone as the patch core's verifier: C all the way, so that it may run under the loader's lock
/// and with threads stopped.
let capstoneVerifier: npc_verifier = nmc_confirms

extension CallSite.Form {
  /// What Capstone has to see in the site's original bytes: an `NIK_` kind.
  var originalKind: UInt8 {
    switch self {
    case .e8, .addr32e8: UInt8(NIK_CALL)
    case .ff15: UInt8(NIK_CALL_SLOT)
    case .nop5, .nop6: UInt8(NIK_NOP)
    case .nop1x5: UInt8(NIK_NOP_RUN)
    }
  }
}

extension PatchError {
  /// The core's result in the words of the module and its table.
  init(_ result: npc_result, pokes: [npc_poke], module: LoadedModule, table: SiteTable) {
    let poke = result.has_index && result.index < pokes.count ? pokes[Int(result.index)] : nil
    let offset = poke.map { CodeAddress($0.address) - module.loadBias }
    let length = Int(poke?.length ?? 0)
    self.init(
      reason: Reason(rawValue: result.status) ?? .moduleGone,
      phase: Phase(rawValue: result.phase) ?? .prepare, module: module.name, offset: offset,
      function: offset.flatMap { table.site(at: $0) }.flatMap { table.functionName(of: $0) },
      expected: poke.map { withUnsafeBytes(of: $0.expected) { [UInt8]($0.prefix(length)) } } ?? [],
      actual: result.has_actual
        ? withUnsafeBytes(of: result.actual) { [UInt8]($0.prefix(length)) } : [],
      thread: result.thread, errorNumber: result.error, isRolledBack: result.rolled_back,
      isLeftChanged: result.left_changed)
  }
}

extension SiteTable {
  /// The site at that link-time address, by binary search.
  public func site(at offset: ModuleOffset) -> CallSite? { index(at: offset).map { sites[$0] } }

  /// Its index in `sites`.
  public func index(at offset: ModuleOffset) -> Int? {
    var low = 0
    var high = sites.count
    while low < high {
      let middle = low + (high - low) / 2
      if sites[middle].offset < offset { low = middle + 1 } else { high = middle }
    }
    return low < sites.count && sites[low].offset == offset ? low : nil
  }
}
