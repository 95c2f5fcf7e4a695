// SPDX-License-Identifier: Apache-2.0

import CRecordingABI

/// A chunk's header as read: nothing in it is checked.
struct ChunkHeader {
  let raw: nrec_chunk_header

  /// `bytes` may be short: what is missing reads as zero.
  init(_ bytes: [UInt8]) { raw = loadPrefix(bytes, nrec_chunk_header()) }

  var threadName: String { text(of: raw.thread_name) }
}

extension nrec_chunk_header {
  /// Header included. The tracers without events use all of a chunk.
  var usedBytes: UInt64 { kind == UInt32(NREC_CHUNK_EVENTS) ? state & 0xffff : UInt64(size) }
}

/// The event file's header as read: nothing in it is checked.
struct FileHeader {
  let raw: nrec_file_header

  init(_ bytes: [UInt8]) { raw = loadPrefix(bytes, nrec_file_header()) }

  func has(_ flag: Int) -> Bool { raw.flags & UInt32(flag) != 0 }
}

/// The first bytes of `bytes` over a zeroed `value` of a C struct without pointers.
///
/// Unsafe for the copy alone: the count is the lesser of both sizes, and any bits are a valid
/// value.
func loadPrefix<Value: BitwiseCopyable>(_ bytes: [UInt8], _ zero: Value) -> Value {
  var value = zero
  withUnsafeMutableBytes(of: &value) { target in
    bytes.withUnsafeBytes { source in
      target.copyMemory(from: UnsafeRawBufferPointer(rebasing: source.prefix(target.count)))
    }
  }
  return value
}

/// Text up to its NUL, of a fixed array of characters.
private func text<Characters: BitwiseCopyable>(of characters: Characters) -> String {
  withUnsafeBytes(of: characters) { bytes in
    String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
  }
}
