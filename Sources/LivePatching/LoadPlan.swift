// SPDX-License-Identifier: Apache-2.0

import CPatchCore
import CallSites
import MachineCode
import Units

/// The pokes that the loader's hook writes into a module each time it is loaded, before its first
/// instruction runs. The hook also notes here whether the module is still loaded.
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

  /// Pokes nothing; notes only whether `module` still is loaded. Nil where anything was unloaded
  /// since it was looked at: another generation may be there by now.
  convenience init?(tracking module: LoadedModule) {
    self.init(buildID: module.buildID ?? [], pokes: [], writer: .mprotect, decoder: nil)
    plan.pointee.load_bias = module.loadBias.rawValue
    plan.pointee.subs = module.unloadCount
    guard npc_load_plan_track(plan) else { return nil }
  }

  /// Makes every call of the table a nop when the module is loaded.
  convenience init(nopping table: SiteTable, writer: TextWriter, decoder: Decoder) {
    let list = PokeBuilder.with(table, loadBias: .zero) { builder, sites in
      sites.compactMap { site in
        builder.code(of: site, in: .nop).flatMap { builder.poke(site, from: .original, to: $0) }
      }
    }
    self.init(buildID: table.buildID ?? [], pokes: list, writer: writer, decoder: decoder)
    npc_load_plan_add(plan)
  }

  /// From now on a load of the module is only noted; no poke is written.
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

  /// What the hook wrote of one generation of the module.
  struct Generation {
    let isLoaded: Bool
    /// How often the module was loaded.
    let number: UInt32
    let loadBias: LoadBias
    /// The loader's count of unloads, which must stay the same while the hook is not there.
    let unloadCount: UInt64
    let result: npc_result
    /// The pokes as they were executed, at run-time addresses, where they failed.
    let pokes: [npc_poke]
  }

  /// All of it at once: between two reads the module may be unloaded and loaded again.
  var current: Generation {
    npc_patch_lock()
    defer { npc_patch_unlock() }
    let isLoaded = npc_load_plan_is_loaded(plan)
    let now = plan.pointee
    return Generation(
      isLoaded: isLoaded, number: now.generation, loadBias: LoadBias(now.load_bias),
      unloadCount: now.subs,
      result: now.result, pokes: now.result.status == NPC_OK ? [] : Array(scratch))
  }

  var isLoaded: Bool { npc_load_plan_is_loaded(plan) }

  func isLoaded(_ generation: UInt32) -> Bool {
    npc_patch_lock()
    defer { npc_patch_unlock() }
    return npc_load_plan_is_loaded(plan) && plan.pointee.generation == generation
  }
}
