// SPDX-License-Identifier: Apache-2.0

import CRecordingABI

/// A node of a thread's call tree that the agent has merged: exact counts, no times.
public struct TreeNode: Sendable {
  public var function: UInt32
  /// Index of its parent in the thread's tree, below its own; node 0 is the root, its own parent.
  public var parent: UInt32
  public var calls: UInt64
}

/// One function of one thread, counted by the agent. Times in units.
public struct ProfileEntry: Sendable {
  public var function: UInt32
  public var calls, totalTime, selfTime, minimumTime, maximumTime: UInt64
  /// Of the inclusive times.
  public var totalSquares: Double
}

extension ThreadRecording {
  public var hasCallTree: Bool { !treeChunks.isEmpty }
  public var hasProfile: Bool { !profileChunks.isEmpty }

  /// Calls `body` with each node and its index, parents first; what was damaged, one line each.
  ///
  /// A node whose parent does not come before it ends the tree: all that follow count from it.
  public func forEachTreeNode(_ body: (Int, TreeNode) throws -> Void) rethrows -> [String] {
    var index = 0
    return try forEachRecord(of: treeChunks, nrec_tree_node()) { raw, chunk in
      guard index == 0 || raw.parent < index else {
        return "\(source.describe(chunk)): node \(index) has parent \(raw.parent), expected less"
      }
      try body(index, TreeNode(function: raw.function, parent: raw.parent, calls: raw.calls))
      index += 1
      return nil
    }
  }

  /// Calls `body` with each function's entry; what was damaged, one line each.
  public func forEachProfileEntry(_ body: (ProfileEntry) throws -> Void) rethrows -> [String] {
    try forEachRecord(of: profileChunks, nrec_profile_entry()) { raw, chunk in
      guard raw.total_squares.isFinite && raw.total_squares >= 0 else {
        return "\(source.describe(chunk)): function \(raw.function) has no number for its squares"
      }
      try body(
        ProfileEntry(
          function: raw.function, calls: raw.calls, totalTime: raw.total_time,
          selfTime: raw.self_time, minimumTime: raw.minimum_time, maximumTime: raw.maximum_time,
          totalSquares: raw.total_squares))
      return nil
    }
  }

  /// Records of one C type, chunk by chunk; `body` answers why it wants no more.
  private func forEachRecord<Record: BitwiseCopyable>(
    of chunks: [ChunkRecord], _ zero: Record, _ body: (Record, ChunkRecord) throws -> String?
  ) rethrows -> [String] {
    let file: OpenFile
    do {
      file = try source.file.open()
    } catch {
      return ["\(error)"]
    }
    let size = MemoryLayout<Record>.size
    let block = 1024 * size
    var isFirst = true
    chunks: for chunk in chunks {
      var offset =
        chunk.offset + UInt64(MemoryLayout<nrec_chunk_header>.size) + 4 * UInt64(chunk.openFunctions)
      let end = chunk.offset + chunk.length
      while offset + UInt64(size) <= end {
        let bytes = file.bytes(at: offset, count: min(block, Int(end - offset)))
        for start in stride(from: 0, through: bytes.count - size, by: size) {
          let slice = Array(bytes[start..<start + size])
          // An open chunk is full of zero bytes behind its last record; the root alone may be zero.
          if !isFirst && !chunk.isClosed && slice.allSatisfy({ $0 == 0 }) {
            continue chunks
          }
          isFirst = false
          if let problem = try body(loadPrefix(slice, zero), chunk) { return [problem] }
        }
        if bytes.count < size { break }
        offset += UInt64(bytes.count / size * size)
      }
    }
    return []
  }
}
