// SPDX-License-Identifier: Apache-2.0
//
// Our own jump in the loader, known by its shape, in whatever process: an audit of another
// process has no journal.
//
//   file   c3              nop padding      at the ret of _dl_debug_state
//   live   e9 rel32        into memory of no file, which holds
//          ff 25 00000000  the address where the hook continues

import LivePatching
import Units

extension DifferenceCollector {
  /// The jumps among the differences; sorted. `module` names a run's file, `read` reads live
  /// memory.
  func loaderJumps(
    module: (_ range: Int) -> String, read: (_ address: CodeAddress, _ count: Int) -> [UInt8]?
  ) -> [KnownChange] {
    var jumps: [KnownChange] = []
    for run in runs where fileBytes[run.index] == 0xc3 && liveBytes[run.index] == 0xe9 {
      guard isLoader(module(run.range)), let live = read(run.address, 5), live[0] == 0xe9,
        let stub = read(target(ofJump: live, at: run.address), 6), stub == Self.throughAddress
      else { continue }
      var original = live
      for offset in original.indices {
        // A byte that does not differ is the file's too.
        guard let found = find(run.address + UInt64(offset)) else { continue }
        original[offset] = fileBytes[found.index]
      }
      jumps.append(
        KnownChange(address: run.address, original: original, current: live))
    }
    return jumps
  }

  /// jmp *0(%rip)
  private static let throughAddress: [UInt8] = [0xff, 0x25, 0, 0, 0, 0]

  private func target(ofJump bytes: [UInt8], at address: CodeAddress) -> CodeAddress {
    var distance: UInt32 = 0
    for byte in bytes[1...].reversed() { distance = distance << 8 | UInt32(byte) }
    return (address &+ 5).displaced(by: Int32(bitPattern: distance))
  }

  /// `ld-linux-x86-64.so.2`, or what it was a link to: `ld-2.31.so`.
  private func isLoader(_ path: String) -> Bool {
    path.split(separator: "/").last.map { $0.hasPrefix("ld-") && $0.contains(".so") } ?? false
  }
}
