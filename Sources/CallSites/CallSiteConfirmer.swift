// SPDX-License-Identifier: Apache-2.0

public import ELFImage
public import MachineCode
public import Units

/// Confirms candidates: Capstone decodes from the function's start, and the candidate must be one
/// of the instructions met, with the right target.
///
/// Each byte is decoded at most once, whatever the candidates: they are sorted, and decoding
/// continues from the last one while the function is the same.
public struct CallSiteConfirmer {
  let image: ELFImage
  let decoder: Decoder
  let functions: FunctionExtents
  private let calls: [Target]
  private let slots: [Target]
  /// The sites confirmed so far, in the order of the candidates.
  public private(set) var sites: [CallSite] = []
  /// The candidates that were refused so far, with their reasons.
  public private(set) var skipped: [SkippedSite] = []

  /// Confirms candidates of `image` against `targets` and `functions`, by `decoder`.
  public init(
    _ image: ELFImage, _ targets: McountTargets, _ functions: FunctionExtents, _ decoder: Decoder
  ) {
    self.image = image
    self.decoder = decoder
    self.functions = functions
    calls = targets.calls.map { Target(address: $0.address, kind: $0.kind) }
    slots = targets.slots.map { Target(address: $0.address, kind: $0.kind) }
  }

  /// What an entry is to the inner loop: without its name, which would be counted in and out.
  private struct Target {
    var address: ModuleOffset
    var kind: CallSite.Kind
  }

  /// Of a function with both kinds of sites only the call is used: each call of it is one call.
  mutating func dropAreas(ofFunctionsIn calls: [CallSite]) {
    if sites.isEmpty || calls.isEmpty { return }
    let starts = Set(calls.map(\.functionStart))
    for site in sites where starts.contains(site.functionStart) {
      skip(site.offset, .functionHasCall)
    }
    sites.removeAll { starts.contains($0.functionStart) }
    skipped.sort { $0.offset < $1.offset }
  }

  /// Confirms `candidates`, sorted by offset, into `sites` and `skipped`.
  public mutating func confirm(_ candidates: [Candidate]) {
    sites.reserveCapacity(sites.count + candidates.count)
    let file = image.bytes.storage
    file.withUnsafeBytes { confirm(candidates, $0) }
  }

  private mutating func confirm(_ candidates: [Candidate], _ file: UnsafeRawBufferPointer) {
    let extents = functions.extents
    var next = 0
    var function = 0
    var segment: Segment?
    while next < candidates.count {
      let offset = candidates[next].offset
      while function < extents.count, extents[function].lowerBound <= offset { function += 1 }
      if segment?.fileAddresses.contains(offset) != true {
        segment = image.segment(containing: offset)
      }
      guard let segment, segment.isExecutable else {
        skip(offset, .outsideText)
        next += 1
        continue
      }
      guard function > 0, extents[function - 1].contains(offset),
        segment.fileAddresses.contains(extents[function - 1].lowerBound)
      else {
        skip(offset, .noFunctionStart)
        next += 1
        continue
      }
      var end = min(extents[function - 1].upperBound, segment.fileAddresses.upperBound)
      if function < extents.count { end = min(end, extents[function].lowerBound) }
      let text = Text(
        segment: segment, bytes: UnsafeRawBufferPointer(rebasing: file[segment.fileRange]))
      next = confirm(
        candidates, from: next, in: extents[function - 1].lowerBound..<end, text)
    }
  }

  /// Decodes one function up to its last candidate; returns the index of the first one after it.
  private mutating func confirm(
    _ candidates: [Candidate], from first: Int, in function: Range<ModuleOffset>, _ text: Text
  ) -> Int {
    var next = first
    var at = function.lowerBound
    while next < candidates.count, candidates[next].offset < function.upperBound {
      let bytes = text.instructionBytes(at: at)
      if let bytes, at &+ 4 <= candidates[next].offset, Self.isKnownStart(bytes) {
        at += 4
        continue
      }
      guard let bytes, let instruction = decoder.decode(bytes, at: at) else {
        skip(candidates[next].offset, .undecodable)
        next += 1
        continue
      }
      let after = at + UInt64(instruction.length)
      while next < candidates.count, candidates[next].offset < after {
        let met = Met(instruction: instruction, bytes: bytes, address: at)
        judge(candidates[next], met, functionStart: function.lowerBound)
        next += 1
      }
      at = after
    }
    return next
  }

  /// What compilers begin functions with as a rule, four bytes each: `push %rbp; mov %rsp,%rbp`,
  /// and endbr64.
  ///
  /// Where an instruction begins they can be nothing else. Capstone needs two thirds of discovery's
  /// time for them, and a program waits in dlopen; the site itself it decodes.
  private static func isKnownStart(_ bytes: UnsafeRawBufferPointer) -> Bool {
    guard bytes.count >= 4 else { return false }
    let word = UInt32(littleEndian: bytes.loadUnaligned(as: UInt32.self))
    return word == 0xe589_4855 || word == 0xfa1e_0ff3
  }

  /// A segment's bytes in the file, while it is being decoded.
  private struct Text {
    var segment: Segment
    var bytes: UnsafeRawBufferPointer

    /// The bytes that an instruction at a link-time address may have: 15 at most.
    func instructionBytes(at address: ModuleOffset) -> UnsafeRawBufferPointer? {
      let start = address &- segment.address
      guard start < UInt64(bytes.count) else { return nil }
      let end = min(Int(start) + 15, bytes.count)
      return UnsafeRawBufferPointer(rebasing: bytes[Int(start)..<end])
    }
  }

  /// An instruction that decoding has come to.
  private struct Met {
    var instruction: Instruction<ModuleSpace>
    /// Its bytes, and up to 14 after it.
    var bytes: UnsafeRawBufferPointer
    var address: ModuleOffset
  }

  /// The instruction at a link-time address that lies in `segment`.
  func decode(_ address: ModuleOffset, in segment: Segment) -> Instruction<ModuleSpace>? {
    image.bytes.storage.withUnsafeBytes { file in
      let bytes = UnsafeRawBufferPointer(rebasing: file[segment.fileRange])
      let text = Text(segment: segment, bytes: bytes)
      return text.instructionBytes(at: address).flatMap { decoder.decode($0, at: address) }
    }
  }

  private mutating func skip(_ offset: ModuleOffset, _ why: SkippedSite.Reason) {
    // The compiler's list and the scan may name the same place.
    if skipped.last?.offset != offset { skipped.append(SkippedSite(offset: offset, why: why)) }
  }

  private mutating func append(_ site: CallSite) {
    if sites.last?.offset != site.offset { sites.append(site) }
  }
}

// MARK: - Calls

extension CallSiteConfirmer {
  private enum Verdict {
    case site(CallSite.Form, CallSite.Kind)
    case skip(SkippedSite.Reason)
  }

  private mutating func judge(_ candidate: Candidate, _ met: Met, functionStart: ModuleOffset) {
    let address = met.address
    let isPrefixed =
      candidate.source == .directCall && met.instruction.kind == .call
      && met.instruction.length == 6 && candidate.offset == address + 1
    guard candidate.offset == address || isPrefixed else {
      skip(candidate.offset, .notAnInstructionBoundary)
      return
    }
    switch verdict(met, candidate.source, functionStart) {
    case .skip(let why): skip(address, why)
    case .site(let form, let kind):
      guard let distance = UInt32(exactly: address - functionStart) else {
        skip(address, .noFunctionStart)
        return
      }
      append(CallSite(offset: address, functionOffset: distance, form: form, kind: kind))
    }
  }

  private func verdict(
    _ met: Met, _ source: Candidate.Source, _ functionStart: ModuleOffset
  ) -> Verdict {
    let target = met.instruction.target
    let second = met.bytes.count > 1 ? met.bytes[1] : 0
    switch (met.instruction.kind, met.instruction.length, met.bytes[0], second) {
    case (.call, 5, 0xe8, _): return called(target, calls, .e8)
    case (.call, 6, 0x67, 0xe8): return called(target, calls, .addr32e8)
    case (.callSlot, 6, 0xff, 0x15): return called(target, slots, .ff15)
    case (.call, _, _, _), (.callSlot, _, _, _): return .skip(.prefixedCall)
    case (.nop, 5, _, _), (.nop, 6, _, _):
      guard source == .mcountLocation else { return .skip(.otherInstruction) }
      // gcc's -mnop-mcount: with the call gone, only the place shows which call it was.
      let form: CallSite.Form = met.instruction.length == 5 ? .nop5 : .nop6
      return .site(form, isEntry(met.address, functionStart) ? .fentry : .mcount)
    default: return .skip(.otherInstruction)
    }
  }

  private func called(_ target: ModuleOffset, _ entries: [Target], _ form: CallSite.Form) -> Verdict
  {
    for entry in entries where entry.address == target { return .site(form, entry.kind) }
    return .skip(.otherTarget)
  }

  /// Whether `address` is the function's first byte, or follows its endbr64.
  func isEntry(_ address: ModuleOffset, _ functionStart: ModuleOffset) -> Bool {
    address == functionStart || address == afterEndbr64(functionStart)
  }

  /// The address after the endbr64 at `address`; `address` itself where there is none.
  func afterEndbr64(_ address: ModuleOffset) -> ModuleOffset {
    guard let segment = image.segment(containing: address),
      decode(address, in: segment)?.kind == .endbr64
    else { return address }
    return address + 4
  }
}

// MARK: - Patchable entries

extension CallSiteConfirmer {
  /// Confirms areas of nops that `__patchable_function_entries` lists: ascending link-time
  /// addresses.
  ///
  /// Only nops at a function's entry become sites: a call put anywhere else would destroy the red
  /// zone.
  ///
  /// With `-fpatchable-function-entry=N,M` the area begins M bytes before the entry; those M stay.
  public mutating func confirmPatchable(_ areas: [ModuleOffset]) {
    var end = ModuleOffset.zero
    for area in areas {
      guard let segment = image.segment(containing: area), segment.isExecutable else {
        skip(area, .outsideText)
        continue
      }
      guard area >= end else {
        skip(area, .overlappingArea)
        continue
      }
      end = area + 1
      guard let function = entry(ofArea: area, in: segment, &end) else { continue }
      let address = afterEndbr64(function)
      // Wraps behind an endbr64 that ends the address space.
      end = max(end, address &+ 1)
      judgeArea(max(area, address), function, segment)
    }
  }

  /// The start of the function that the area at `area` belongs to.
  ///
  /// Moves `end` past what it looked at, so that no byte is decoded for two areas.
  private mutating func entry(
    ofArea area: ModuleOffset, in segment: Segment, _ end: inout ModuleOffset
  ) -> ModuleOffset? {
    let index = functions.index(before: area)
    if let index {
      let extent = functions.extents[index]
      if extent.contains(area), isEntry(area, extent.lowerBound) { return extent.lowerBound }
    }
    let next = index.map { $0 + 1 } ?? 0
    var at = area
    while next < functions.extents.count, at < functions.extents[next].lowerBound {
      guard let nop = decode(at, in: segment), nop.kind == .nop else { break }
      at += UInt64(nop.length)
      end = at
    }
    if next < functions.extents.count, at == functions.extents[next].lowerBound { return at }
    let isInside = index.map { functions.extents[$0].contains(area) } ?? false
    skip(area, isInside ? .notAtFunctionEntry : .noFunctionStart)
    return nil
  }

  private mutating func judgeArea(
    _ address: ModuleOffset, _ function: ModuleOffset, _ segment: Segment
  ) {
    var lengths: [Int] = []
    var at = address
    while lengths.count < 5, at - address < 5, let nop = decode(at, in: segment), nop.kind == .nop {
      lengths.append(nop.length)
      at += UInt64(nop.length)
    }
    let form: CallSite.Form
    switch lengths.first ?? 0 {
    case 5: form = .nop5
    case 6: form = .nop6
    case 7...: return skip(address, .instructionTooLong(bytes: UInt8(lengths[0])))
    default:
      if at - address < 5 { return skip(address, .areaTooShort(bytes: UInt8(at - address))) }
      guard lengths == [1, 1, 1, 1, 1] else {
        return skip(address, .mixedArea(bytes: UInt8(lengths[0])))
      }
      form = .nop1x5
    }
    append(
      CallSite(
        offset: address, functionOffset: UInt32(address - function), form: form, kind: .patchable))
  }
}
