// SPDX-License-Identifier: Apache-2.0

import ELFImage
import Units

/// The first instructions of functions, recognised by their bytes: what compilers write there to
/// make room on the stack.
struct EntryCode {
  private let image: ELFImage
  /// How far from the entry a function is looked at.
  private static let window: UInt64 = 512

  init(_ image: ELFImage) { self.image = image }

  /// Whether the function whose entry the site is at loads its return address from the stack, near
  /// its entry. The next function begins at `end`, or earlier.
  func readsReturnAddress(_ site: CallSite, before end: ModuleOffset) -> Bool {
    let code = bytes(from: site.offset + UInt64(site.length), to: end)
    var frame = StackFrame()
    var index = 0
    while let length = frame.take(code, at: index) { index += length }
    while index + 4 <= code.count {
      if frame.isReturnAddress(code, at: index) { return true }
      index += 1
    }
    return false
  }

  /// Whether the function that starts there keeps a frame in rbp: `push %rbp`, then
  /// `mov %rsp,%rbp`.
  func hasFrame(_ start: ModuleOffset) -> Bool {
    let head = bytes(from: start, to: start + 40)
    guard let push = head.firstIndex(of: 0x55) else { return false }
    let frame: [UInt8] = [0x48, 0x89, 0xe5]
    return head.indices[push...].contains { head[$0...].starts(with: frame) }
  }

  /// As many of the file as there are, at most a window.
  private func bytes(from address: ModuleOffset, to end: ModuleOffset) -> [UInt8] {
    guard end > address, let segment = image.segment(containing: address) else { return [] }
    let count = min(Self.window, end - address, segment.fileAddresses.upperBound - address)
    guard let start = image.fileOffset(ofAddress: address, size: count) else { return [] }
    return Array(image.bytes.storage[start..<(start + Int(count))])
  }
}

/// Where the return address is, as a function's first instructions move the stack pointer.
private struct StackFrame {
  /// Above the stack pointer, bytes.
  var depth = 0
  /// Above rbp, bytes; nil: rbp is the caller's.
  var depthInFrame: Int?

  /// Its length; nil where it is none that makes room.
  mutating func take(_ code: [UInt8], at start: Int) -> Int? {
    guard start + 8 <= code.count else { return nil }
    switch (code[start], code[start + 1], code[start + 2]) {
    case (0x50...0x57, _, _):  // push
      depth += 8
      return 1
    case (0x41, 0x50...0x57, _):
      depth += 8
      return 2
    case (0x48, 0x89, 0xe5):  // mov %rsp,%rbp
      depthInFrame = depth
      return 3
    case (0x48, 0x83, 0xec) where code[start + 3] < 0x80:  // sub $imm8,%rsp
      depth += Int(code[start + 3])
      return 4
    case (0x48, 0x81, 0xec):  // sub $imm32,%rsp
      depth += Int(code[start + 3]) | Int(code[start + 4]) << 8 | Int(code[start + 5]) << 16
      return 7
    case (0xf3, 0x0f, 0x1e) where code[start + 3] == 0xfa: return 4  // endbr64
    // What compilers put among these: moves between registers, constants, addresses.
    case (0x40...0x4f, 0x89, 0xc0...0xff): return 3
    case (0x89, 0xc0...0xff, _), (0x31, 0xc0...0xff, _): return 2
    case (0xb8...0xbf, _, _): return 5
    case (0x41, 0xb8...0xbf, _): return 6
    case (0x48, 0x8d, _) where code[start + 2] & 0xc7 == 0x05: return 7
    default: return nil
    }
  }

  /// Whether these are a `mov` of eight bytes from where the return address is.
  func isReturnAddress(_ code: [UInt8], at start: Int) -> Bool {
    guard start + 5 <= code.count, code[start] == 0x48 || code[start] == 0x4c,
      code[start + 1] == 0x8b
    else { return false }
    switch (code[start + 2] & 0xc7, code[start + 3]) {
    case (0x04, 0x24): return depth == 0
    case (0x44, 0x24): return depth == Int(code[start + 4]) && depth < 0x80
    case (0x84, 0x24):
      return start + 8 <= code.count
        && depth == Int(code[start + 4]) | Int(code[start + 5]) << 8 | Int(code[start + 6]) << 16
    case (0x45, _): return depthInFrame == Int(code[start + 3])
    default: return false
    }
  }
}
