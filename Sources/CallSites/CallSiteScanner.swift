// SPDX-License-Identifier: Apache-2.0

public import ELFImage
public import Units

/// A place that may be a call site, before Capstone has confirmed it.
public struct Candidate: Equatable, Sendable {
  /// What made the place a candidate.
  public enum Source: UInt8, Sendable {
    /// An `e8` whose target is right. It may be the second byte of `67 e8`, or no instruction.
    case directCall
    /// An `ff 15` whose slot is right.
    case slotCall
    /// An entry of __mcount_loc.
    case mcountLocation
  }

  /// Link-time address.
  public var offset: ModuleOffset
  /// What made it a candidate.
  public var source: Source
}

/// Looks for the bytes of calls whose computed target is exactly mcount's or __fentry__'s.
///
/// Reads each byte of text once, and decodes nothing.
public struct CallSiteScanner: Sendable {
  let image: ELFImage
  // Plain numbers: the loop compares them with what each byte of text may point to.
  private let calls: [UInt64]
  private let slots: [UInt64]

  /// Scans the executable segments of `image` for calls of `targets`.
  public init(_ image: ELFImage, _ targets: McountTargets) {
    self.image = image
    calls = targets.calls.map(\.address.rawValue)
    slots = targets.slots.map(\.address.rawValue)
  }

  /// All candidates, by offset.
  public func scan() -> [Candidate] {
    var found: [Candidate] = []
    guard !calls.isEmpty || !slots.isEmpty else { return found }
    for segment in image.executableSegments { scan(segment, &found) }
    return found
  }

  private func scan(_ segment: Segment, _ found: inout [Candidate]) {
    let range = segment.fileRange
    guard range.count >= 5 else { return }
    let text = image.bytes.storage.span.extracting(range)
    let calls = self.calls.span
    let slots = self.slots.span
    let base = segment.address.rawValue
    let last = text.count - 5
    var index = 0
    while index <= last {
      let byte = text[index]
      if byte == 0xe8 {
        let target = base &+ Self.target(text, index + 1)
        if Self.contains(calls, target) {
          found.append(
            Candidate(offset: segment.address + UInt64(index), source: .directCall))
        }
      } else if byte == 0xff, text[index + 1] == 0x15, index < last {
        let target = base &+ Self.target(text, index + 2)
        if Self.contains(slots, target) {
          found.append(Candidate(offset: segment.address + UInt64(index), source: .slotCall))
        }
      }
      index += 1
    }
  }

  /// Where the four bytes at `index`, a displacement that ends its instruction, point: relative to
  /// the text's first byte.
  @inline(__always)
  private static func target(_ text: borrowing Span<UInt8>, _ index: Int) -> UInt64 {
    let displacement =
      UInt32(text[index]) | UInt32(text[index + 1]) << 8 | UInt32(text[index + 2]) << 16
      | UInt32(text[index + 3]) << 24
    return UInt64(bitPattern: Int64(index + 4) &+ Int64(Int32(bitPattern: displacement)))
  }

  @inline(__always)
  private static func contains(_ addresses: borrowing Span<UInt64>, _ address: UInt64) -> Bool {
    for index in addresses.indices where addresses[index] == address { return true }
    return false
  }

  /// The PLT stubs in `segment`: `jmp *slot(%rip)` through one of `slots`, whose index `found` gets
  /// with the stub's address.
  static func stubs(
    in segment: Segment, of image: ELFImage, through slots: [ModuleOffset],
    _ found: (_ slot: Int, _ stub: ModuleOffset) -> Void
  ) {
    let range = segment.fileRange
    guard range.count >= 6 else { return }
    let text = image.bytes.storage.span.extracting(range)
    for index in 0...(text.count - 6) where text[index] == 0xff && text[index + 1] == 0x25 {
      let target = segment.address &+ Self.target(text, index + 2)
      for (number, slot) in slots.enumerated() where slot == target {
        found(number, segment.address + UInt64(stubStart(text, jump: index)))
      }
    }
  }

  /// Link-time addresses of the jumps in `segment` to one of `functions`, by `e9` or `0f 8x`, or
  /// through one of `slots`, by `ff 25`.
  static func jumps(
    in segment: Segment, of image: ELFImage, to functions: [ModuleOffset],
    through slots: [ModuleOffset]
  ) -> [ModuleOffset] {
    let range = segment.fileRange
    guard range.count >= 6 else { return [] }
    let text = image.bytes.storage.span.extracting(range)
    let base = segment.address.rawValue
    let direct = functions.map(\.rawValue)
    let indirect = slots.map(\.rawValue)
    var found: [ModuleOffset] = []
    for index in 0...(text.count - 6) {
      let isJump: Bool
      switch text[index] {
      case 0xe9: isJump = contains(direct.span, base &+ target(text, index + 1))
      case 0x0f:
        isJump =
          text[index + 1] & 0xf0 == 0x80 && contains(direct.span, base &+ target(text, index + 2))
      case 0xff:
        isJump =
          text[index + 1] == 0x25 && contains(indirect.span, base &+ target(text, index + 2))
      default: isJump = false
      }
      if isJump { found.append(segment.address + UInt64(index)) }
    }
    return found
  }

  /// Link-time addresses of what may be a load of 8(%rbp), the return address of a function with a
  /// frame: `mov 8(%rbp),%reg`.
  static func frameReads(in segment: Segment, of image: ELFImage) -> [ModuleOffset] {
    let range = segment.fileRange
    guard range.count >= 4 else { return [] }
    let text = image.bytes.storage.span.extracting(range)
    var found: [ModuleOffset] = []
    for index in 0...(text.count - 4)
    where text[index + 1] == 0x8b && text[index + 3] == 8 && text[index + 2] & 0xc7 == 0x45
      && (text[index] == 0x48 || text[index] == 0x4c)
    {
      found.append(segment.address + UInt64(index))
    }
    return found
  }

  /// A stub begins at its `bnd` prefix, or at the endbr64 before that.
  private static func stubStart(_ text: borrowing Span<UInt8>, jump: Int) -> Int {
    var start = jump
    if start >= 1, text[start - 1] == 0xf2 { start -= 1 }
    if start >= 4, text[start - 4] == 0xf3, text[start - 3] == 0x0f, text[start - 2] == 0x1e,
      text[start - 1] == 0xfa
    {
      start -= 4
    }
    return start
  }
}
