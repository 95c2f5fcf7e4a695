// SPDX-License-Identifier: Apache-2.0

import CMachineCode
import CPatchCore
import CTestSupport
import CallSites
import MachineCode
import Units

@testable import LivePatching

/// A transaction of the patch core. A test can set every field.
final class RawTransaction {
  var transaction = npc_transaction()
  let pokes: UnsafeMutableBufferPointer<npc_poke>
  private let buildID: UnsafeMutableBufferPointer<UInt8>

  /// A transaction from the original bytes to nops at `sites`, or back, with correct pokes.
  init(
    _ fixture: PatchFixture, _ sites: [Int], back: Bool = false,
    method: PatchProtocol = .automatic, writer: TextWriter = .mprotect
  ) {
    pokes = .allocate(capacity: sites.count)
    _ = pokes.initialize(from: sites.map { Self.poke(fixture, $0, back: back) })
    buildID = .allocate(capacity: fixture.module.buildID?.count ?? 0)
    _ = buildID.initialize(from: fixture.module.buildID ?? [])
    transaction.pokes = UnsafePointer(pokes.baseAddress)
    transaction.count = pokes.count
    transaction.load_bias = fixture.module.loadBias.rawValue
    transaction.build_id = UnsafePointer(buildID.baseAddress)
    transaction.build_id_length = UInt32(buildID.count)
    transaction.protocol = method.rawValue
    transaction.writer = writer.rawValue
    transaction.verify = capstoneVerifier
    transaction.verifier = UnsafeMutableRawPointer(fixture.decoder.handle)
  }

  deinit {
    pokes.deallocate()
    buildID.deallocate()
  }

  /// A saboteur that acts when the verifier is asked about the last poke. All other pokes have been
  /// verified then. It acts on the page of the last poke.
  func sabotage(_ deed: Int) -> UnsafeMutablePointer<cts_saboteur> {
    let saboteur = UnsafeMutablePointer<cts_saboteur>.allocate(capacity: 1)
    saboteur.initialize(to: cts_saboteur())
    saboteur.pointee.inner = transaction.verify
    saboteur.pointee.inner_context = transaction.verifier
    saboteur.pointee.when = pokes[pokes.count - 1].address
    saboteur.pointee.deed = Int32(deed)
    saboteur.pointee.page = saboteur.pointee.when & ~4095
    transaction.verify = cts_sabotage_verifier()
    transaction.verifier = UnsafeMutableRawPointer(saboteur)
    return saboteur
  }

  func execute() -> npc_result {
    var result = npc_result()
    npc_patch_prepare()
    npc_transaction_execute(&transaction, &result)
    return result
  }

  static func poke(_ fixture: PatchFixture, _ index: Int, back: Bool = false) -> npc_poke {
    let site = fixture.table.sites[index]
    let original = Code(fixture.table.originalBytes(of: site))
    let nop = Code.nop(length: site.length)
    let target = fixture.table.target(of: site)
    var poke = npc_poke()
    poke.address = (fixture.module.loadBias + site.offset).rawValue
    poke.length = UInt8(site.length)
    poke.expected = back ? nop.tuple : original.tuple
    poke.replacement = back ? original.tuple : nop.tuple
    poke.expected_kind = back ? UInt8(NIK_NOP) : kind(of: site.form)
    poke.target = back || target == 0 ? 0 : (fixture.module.loadBias + target).rawValue
    if !back, site.form == .nop1x5 { poke.flags = UInt8(NPC_POKE_RUN_OF_NOPS) }
    return poke
  }

  private static func kind(of form: CallSite.Form) -> UInt8 {
    switch form {
    case .e8, .addr32e8: UInt8(NIK_CALL)
    case .ff15: UInt8(NIK_CALL_SLOT)
    case .nop5, .nop6: UInt8(NIK_NOP)
    case .nop1x5: UInt8(NIK_NOP_RUN)
    }
  }
}
