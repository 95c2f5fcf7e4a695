// SPDX-License-Identifier: Apache-2.0
//
// Mutates recordings record by record. One byte more in the middle of the string would make every
// length after it wrong. libFuzzer itself mutates the bytes inside a record.

import CLibFuzzer
import FuzzEntries

func mutateRecording(
  _ data: UnsafeMutablePointer<UInt8>, _ size: Int, _ maximum: Int, _ seed: UInt32
) -> Int {
  var random = Random(seed)
  // Sometimes mutates the whole string as bytes, since the lengths are hostile input too.
  if random.below(32) == 0 { return LLVMFuzzerMutate(data, size, maximum) }
  var input = RecordingInput(UnsafeBufferPointer(start: data, count: size))
  for _ in 0...random.below(3) { change(&input, &random) }
  let output = input.encoded
  if output.count > maximum { return LLVMFuzzerMutate(data, size, maximum) }
  for (index, byte) in output.enumerated() { data[index] = byte }
  return output.count
}

private func change(_ input: inout RecordingInput, _ random: inout Random) {
  guard !input.records.isEmpty else {
    input.records = [RecordingInput.Record(.process, [0])]
    return
  }
  let index = random.below(input.records.count)
  let other = random.below(input.records.count)
  switch random.below(16) {
  case 0: input.records.remove(at: index)
  case 1: input.records.insert(input.records[index], at: other)
  case 2: input.records.swapAt(index, other)
  case 3:
    let kinds = RecordingInput.Kind.allCases
    input.records[index].kind = kinds[random.below(kinds.count)]
  case 4:
    // Joins the beginning of one record and the end of another.
    let bytes = input.records[other].bytes
    let cut = random.below(input.records[index].bytes.count + 1)
    let from = random.below(bytes.count + 1)
    input.records[index].bytes.removeSubrange(cut...)
    input.records[index].bytes += bytes.dropFirst(from)
  default:
    mutateBytes(of: &input.records[index])
    if input.records[index].kind == .chunk && random.below(4) != 0 {
      mend(&input.records[index].bytes)
    }
  }
}

private func mutateBytes(of record: inout RecordingInput.Record) {
  let size = record.bytes.count
  let most = min(2 * size + 64, RecordingInput.longest)
  record.bytes += Array(repeating: 0, count: most - size)
  let left = record.bytes.withUnsafeMutableBufferPointer { buffer in
    buffer.baseAddress.map { LLVMFuzzerMutate($0, size, most) } ?? 0
  }
  record.bytes.removeLast(most - left)
}

/// Writes a chunk's magic and lengths as the agent does. Without them a reader skips the chunk.
private func mend(_ bytes: inout [UInt8]) {
  guard bytes.count >= 64 else { return }
  let page = RecordingInput.page
  put(0x4b48_434e, at: 0, &bytes)
  put(UInt32((bytes.count + page - 1) / page * page), at: 4, &bytes)
  // The state: the lower bits of the time, and the bytes used.
  put(UInt32(min(bytes.count, 0xffff)), at: 40, &bytes)
}

private func put(_ number: UInt32, at offset: Int, _ bytes: inout [UInt8]) {
  for index in 0..<4 { bytes[offset + index] = UInt8(truncatingIfNeeded: number >> (8 * index)) }
}

/// SplitMix64, started from libFuzzer's seed, so a seed decides everything.
private struct Random {
  private var state: UInt64

  init(_ seed: UInt32) { state = UInt64(seed) }

  mutating func below(_ count: Int) -> Int {
    state &+= 0x9e37_79b9_7f4a_7c15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
    return Int(truncatingIfNeeded: (mixed ^ (mixed >> 31)) >> 1) % max(1, count)
  }
}
