// SPDX-License-Identifier: Apache-2.0

import CPatchCore
import CallSites
import MachineCode

/// What is poked into a module whenever it comes, before its first instruction runs; and the word
/// on whether it is still there. The loader's hook reads and writes it.
final class LoadPlan {
  private let plan: UnsafeMutablePointer<npc_load_plan>
  private let buildID: UnsafeMutableBufferPointer<UInt8>
  private let pokes: UnsafeMutableBufferPointer<npc_poke>
  private let scratch: UnsafeMutableBufferPointer<npc_poke>
  private let decoder: Decoder?

  private init(buildID id: [UInt8], pokes list: [npc_poke], writer: TextWriter, decoder: Decoder?) {
    buildID = .allocate(capacity: id.count)
    _ = buildID.initialize(from: id)
    pokes = .allocate(capacity: list.count)
    _ = pokes.initialize(from: list)
    scratch = .allocate(capacity: list.count)
    _ = scratch.initialize(from: list)
    self.decoder = decoder
    plan = .allocate(capacity: 1)
    var value = npc_load_plan()
    value.build_id = UnsafePointer(buildID.baseAddress)
    value.build_id_length = UInt32(id.count)
    value.pokes = UnsafePointer(pokes.baseAddress)
    value.scratch = scratch.baseAddress
    value.count = list.count
    value.writer = writer.rawValue
    value.verify = capstoneVerifier
    value.verifier = decoder.map { UnsafeMutableRawPointer($0.handle) }
    plan.initialize(to: value)
  }

  /// Pokes nothing; tells only whether `module` still is loaded. Nil where anything was unloaded
  /// since it was looked at: another generation may stand there by now.
  convenience init?(tracking module: LoadedModule) {
    self.init(buildID: module.buildID ?? [], pokes: [], writer: .mprotect, decoder: nil)
    plan.pointee.load_bias = module.loadBias
    plan.pointee.subs = module.unloadCount
    guard npc_load_plan_track(plan) else { return nil }
  }

  /// Makes every call of the table a nop when the module comes.
  convenience init(nopping table: SiteTable, writer: TextWriter, decoder: Decoder) {
    let list = PokeBuilder.with(table, loadBias: 0) { builder, sites in
      sites.compactMap { site in
        builder.code(of: site, in: .nop).flatMap { builder.poke(site, from: .original, to: $0) }
      }
    }
    self.init(buildID: table.buildID ?? [], pokes: list, writer: writer, decoder: decoder)
    npc_load_plan_add(plan)
  }

  /// From now on a module that comes is only noted, not poked.
  func stopPatching() {
    npc_patch_lock()
    plan.pointee.count = 0
    npc_patch_unlock()
  }

  deinit {
    npc_load_plan_remove(plan)
    plan.deallocate()
    buildID.deallocate()
    pokes.deallocate()
    scratch.deallocate()
  }

  // Read under the patch lock: the hook writes them under it.
  private func locked<T>(_ read: (npc_load_plan) -> T) -> T {
    npc_patch_lock()
    defer { npc_patch_unlock() }
    return read(plan.pointee)
  }

  var isLoaded: Bool { locked { $0.loaded } }
  /// How often the module came.
  var generation: UInt32 { locked { $0.generation } }
  var loadBias: UInt64 { locked { $0.load_bias } }
  var result: npc_result { locked { $0.result } }
  /// The pokes as they were executed, at run-time addresses.
  var pokesAtRunTime: [npc_poke] { locked { _ in Array(scratch) } }
}
