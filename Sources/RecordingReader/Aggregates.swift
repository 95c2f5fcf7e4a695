// SPDX-License-Identifier: Apache-2.0

import CRecordingABI
public import Units

/// A node of a thread's call tree that the agent has merged: exact counts, no times.
public struct TreeNode: Sendable {
  /// Its number in the process.
  public var function: UInt32
  /// Index of its parent in the thread's tree, below its own; node 0 is the root, its own parent.
  public var parent: UInt32
  /// Calls by this path.
  public var calls: UInt64
}

/// One function of one thread, counted by the agent.
public struct ProfileEntry: Sendable {
  /// Its number in the process.
  public var function: UInt32
  /// Calls that began.
  public var calls: UInt64
  /// Calls that ended, of which the times are.
  public var endedCalls: UInt64
  public var totalTime, selfTime, minimumTime, maximumTime: ClockUnits
  /// Inclusive times of all calls that ended; `totalTime` leaves out those inside another one of
  /// the same function.
  public var sumTime: ClockUnits
  /// Of the inclusive times, in units².
  public var totalSquares: Double
}

extension ThreadRecording {
  /// Whether the agent merged its calls into a tree (tracer callgraph).
  public var hasCallTree: Bool { !treeChunks.isEmpty }
  /// Whether the agent kept counts or times a function (tracers profile and hits).
  public var hasProfile: Bool { !profileChunks.isEmpty || !hitsChunks.isEmpty }

  /// Calls `body` with each node in use and its index, parents first; what was damaged, one line
  /// each.
  ///
  /// A node whose parent does not come before it ends the tree: all that follow count from it.
  public func forEachTreeNode(_ body: (Int, TreeNode) throws -> Void) rethrows -> [String] {
    var index = 0
    return try forEachRecord(of: treeChunks, nrec_tree_node()) { raw, chunk in
      guard index == 0 || raw.parent < index else {
        return "\(source.describe(chunk)): node \(index) has parent \(raw.parent), expected less"
      }
      // Behind the first, a node under the root without calls is not in use: chunks are of whole
      // pages.
      if index == 0 || raw.calls > 0 || raw.parent > 0 {
        try body(index, TreeNode(function: raw.function, parent: raw.parent, calls: raw.calls))
      }
      index += 1
      return nil
    }
  }

  /// Calls `body` with the entry of each function that was called; what was damaged, one line each.
  ///
  /// The agent widens its counters by copying them into a larger chunk: the last one counts.
  public func forEachProfileEntry(_ body: (ProfileEntry) throws -> Void) rethrows -> [String] {
    if let chunk = hitsChunks.last {
      return try forEachNumbered(in: chunk, UInt64(0)) { function, calls in
        try body(
          ProfileEntry(
            function: function, calls: calls, endedCalls: 0, totalTime: .zero,
            selfTime: .zero, minimumTime: .zero, maximumTime: .zero, sumTime: .zero,
            totalSquares: 0))
      }
    }
    guard let chunk = profileChunks.last else { return [] }
    return try forEachNumbered(in: chunk, nrec_profile_entry()) { function, raw in
      let squares = Double(raw.squares_high) * 18_446_744_073_709_551_616 + Double(raw.squares_low)
      try body(
        ProfileEntry(
          function: function, calls: raw.calls, endedCalls: UInt64(raw.ended_calls),
          totalTime: ClockUnits(raw.total_time),
          selfTime: ClockUnits(UInt64(max(0, raw.self_time))),
          // If the program was killed between the two stores, only the minimum was stored.
          minimumTime: ClockUnits(raw.minimum_time),
          maximumTime: ClockUnits(max(raw.minimum_time, raw.maximum_time)),
          sumTime: ClockUnits(raw.sum_time), totalSquares: squares))
    }
  }

  /// The records of one chunk whose place is a function's number; those that are all zero bytes
  /// stand for functions that were never called.
  private func forEachNumbered<Record: BitwiseCopyable>(
    in chunk: ChunkPlace, _ zero: Record, _ body: (UInt32, Record) throws -> Void
  ) rethrows -> [String] {
    let file: OpenFile
    do {
      file = try source.file.open()
    } catch {
      return ["\(error)"]
    }
    let size = MemoryLayout<Record>.size
    let first = chunk.offset + UInt64(MemoryLayout<nrec_chunk_header>.size)
    let count = Int(chunk.offset + chunk.length - first) / size
    for start in stride(from: 0, to: count, by: 1024) {
      let wanted = min(1024, count - start)
      let bytes = file.bytes(at: first + UInt64(start * size), count: wanted * size)
      for index in 0..<(bytes.count / size) {
        let slice = Array(bytes[(index * size)..<((index + 1) * size)])
        if slice.allSatisfy({ $0 == 0 }) { continue }
        try body(UInt32(start + index), loadPrefix(slice, zero))
      }
    }
    return []
  }

  /// Records of one C type, chunk by chunk; `body` returns why it stops, or nil to go on.
  private func forEachRecord<Record: BitwiseCopyable>(
    of chunks: [ChunkPlace], _ zero: Record, _ body: (Record, ChunkPlace) throws -> String?
  ) rethrows -> [String] {
    let file: OpenFile
    do {
      file = try source.file.open()
    } catch {
      return ["\(error)"]
    }
    let size = MemoryLayout<Record>.size
    let block = 1024 * size
    for chunk in chunks {
      var offset =
        chunk.offset + UInt64(MemoryLayout<nrec_chunk_header>.size) + 4
        * UInt64(chunk.openFunctions)
      let end = chunk.offset + chunk.length
      while offset + UInt64(size) <= end {
        let bytes = file.bytes(at: offset, count: min(block, Int(end - offset)))
        for start in stride(from: 0, through: bytes.count - size, by: size) {
          let slice = Array(bytes[start..<start + size])
          if let problem = try body(loadPrefix(slice, zero), chunk) { return [problem] }
        }
        if bytes.count < size { break }
        offset += UInt64(bytes.count / size * size)
      }
    }
    return []
  }
}
