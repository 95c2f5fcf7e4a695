// SPDX-License-Identifier: Apache-2.0

import CRecordingABI
import CallSites
import ELFImage
import MachineCode
import Units

/// Where a site's return address is, read from the instructions between its function's start
/// and itself.
///
/// At the entry it is right above the call's own. After the prologue of `-pg` it is at 8(%rbp),
/// which the prologue's `push %rbp; mov %rsp,%rbp` proves; where the function realigned its stack
/// through r10 (`lea 8(%rsp),%r10`), that place holds a copy, and changing it changes nothing.
///
/// The return of a function in `returnAddressUsers` cannot be hooked, whatever its entry is like.
struct EntryShape {
  let image: ELFImage
  let decoder: Decoder
  let returnAddressUsers: Set<ModuleOffset>

  private static let endbr64: [UInt8] = [0xf3, 0x0f, 0x1e, 0xfa]
  private static let push: [UInt8] = [0x55]
  /// `mov %rsp,%rbp` in its two encodings.
  private static let frames: [[UInt8]] = [[0x48, 0x89, 0xe5], [0x48, 0x8b, 0xec]]
  private static let prologue = push + frames[0]
  private static let realignment: [UInt8] = [0x4c, 0x8d, 0x54, 0x24, 0x08]
  /// No prologue is longer; what is gets no hooked return.
  private static let longestPrologue: UInt32 = 256

  /// `NREC_SITE_*` bits that follow from the code alone.
  func flags(of site: CallSite) -> UInt8 {
    let run = site.form == .nop1x5 ? UInt8(NREC_SITE_RUN_OF_NOPS) : 0
    let isSeen = returnAddressUsers.contains(site.functionStart)
    return run | (isSeen ? UInt8(NREC_SITE_ENTRY_ONLY) : 0) | place(of: site)
  }

  private func place(of site: CallSite) -> UInt8 {
    if site.functionOffset == 0 { return 0 }
    let entryOnly = UInt8(NREC_SITE_ENTRY_ONLY)
    let afterPrologue = UInt8(NREC_SITE_AFTER_PROLOGUE)
    let length = site.functionOffset
    guard length <= Self.longestPrologue,
      let start = image.fileOffset(ofAddress: site.functionStart, size: UInt64(length))
    else { return entryOnly }
    let code = image.bytes.storage[start..<(start + Int(length))]
    // The usual code of compilers is recognised without decoding.
    if code.elementsEqual(Self.prologue) {
      return site.kind == .mcount ? afterPrologue : entryOnly
    }
    guard let seen = walk(code, at: site.functionStart) else { return entryOnly }
    if seen.isOnlyNops { return 0 }
    guard site.kind == .mcount, seen.hasFrame else { return entryOnly }
    return seen.isRealigned ? afterPrologue | entryOnly : afterPrologue
  }

  private struct Seen {
    var isOnlyNops = true
    var hasPush = false
    var hasFrame = false
    var isRealigned = false
  }

  /// What the instructions in `code` do; nil where Capstone does not decode them up to its end.
  private func walk(_ code: ArraySlice<UInt8>, at address: ModuleOffset) -> Seen? {
    var seen = Seen()
    var index = code.startIndex
    while index < code.endIndex {
      let rest = code[index...]
      let here = address + UInt64(index - code.startIndex)
      guard let instruction = rest.withUnsafeBytes({ decoder.decode($0, at: here) }) else {
        return nil
      }
      let bytes = rest.prefix(instruction.length)
      if instruction.kind != .nop, !bytes.elementsEqual(Self.endbr64) { seen.isOnlyNops = false }
      if bytes.elementsEqual(Self.push) { seen.hasPush = true }
      if Self.frames.contains(where: { bytes.elementsEqual($0) }) { seen.hasFrame = seen.hasPush }
      if bytes.elementsEqual(Self.realignment) { seen.isRealigned = true }
      index += instruction.length
    }
    return seen
  }
}
