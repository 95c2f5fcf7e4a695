// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A second reader of event files, written only from the format's description (docs/format.md).
///
/// It shares no code with the product's reader, so each checks the other. `calls` counts by
/// function name, over all processes and threads.
public struct DecodedRecording: Sendable {
  /// By function name.
  public var calls: [String: Int] = [:]
  /// By name of their files.
  public var processes: [DecodedProcess] = []

  /// Of all processes.
  public var lostEvents: Int { processes.reduce(0) { $0 + $1.lostEvents } }
  /// Calls that ended without returning, of all processes.
  public var unwound: Int { processes.reduce(0) { $0 + $1.unwound } }
  /// How often threads went on on another stack.
  public var switches: Int { processes.reduce(0) { $0 + $1.switches } }
  /// What the format does not allow, of all processes.
  public var complaints: [String] { processes.flatMap(\.complaints) }

  /// Reads all event files of a recording. Throws where it cannot.
  public init(_ folder: String) throws {
    for name in try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
    where name.hasSuffix(".events") {
      let process = try DecodedProcess(folder: folder, stem: String(name.dropLast(7)))
      processes.append(process)
      calls.merge(process.calls, uniquingKeysWith: +)
    }
  }
}

/// One load of a module.
public struct DecodedGeneration: Sendable {
  /// Of the process, from 1.
  public var generation: Int
  /// Of the module.
  public var path: String
  /// Number of its site 0.
  public var firstFunction: Int
  /// How many.
  public var sites: Int
}

/// What the files of one process say.
public struct DecodedProcess: Sendable {
  /// `PID-INCARNATION`, of the names of its files.
  public var stem: String
  /// NREC_FLAG_*.
  public var flags = 0
  /// By its header.
  public var lostEvents = 0
  /// By function name.
  public var calls: [String: Int] = [:]
  /// By function number, since several generations of a module have functions of one name.
  public var names: [Int: (name: String, generation: Int)] = [:]
  /// How many VALUES.
  public var values = 0
  /// Calls by function number.
  public var callsByFunction: [Int: Int] = [:]
  /// Modules with call sites, in the order in which they were loaded.
  public var generations: [DecodedGeneration] = []
  /// Their names by their ids.
  public var threads: [Int: String] = [:]
  /// Entry events.
  public var entries = 0
  /// Exit events, pairs included.
  public var exits = 0
  /// Calls that ended without returning.
  public var unwound = 0
  /// How often a thread went on on another stack.
  public var switches = 0
  /// One text for each place where the file breaks the format.
  public var complaints: [String] = []
  /// Calls by function number and return address (tracer `function`).
  public var callers: [Int: [Int: Int]] = [:]
  private var tracer = 0
  private var pairs: [Int: (function: Int, caller: Int)] = [:]
  var treeParts: [Int: [UInt8]] = [:]
  var lastCounters: [Int: (kind: Int, data: ArraySlice<UInt8>)] = [:]

  init(folder: String, stem: String) throws {
    self.stem = stem
    let data = [UInt8](try Data(contentsOf: URL(fileURLWithPath: "\(folder)/\(stem).events")))
    try readNames(folder)
    guard data.count >= 4096, data.word(0, 8) == 0x0143_4552_5350_4f4e else {
      complaints.append("no header")
      return
    }
    flags = data.word(36, 4)
    tracer = data.word(28, 4)
    lostEvents = data.word(80, 8)
    readChunks(data)
    countAggregates()
    for (function, count) in callsByFunction {
      calls[names[function]?.name ?? "#\(function)", default: 0] += count
    }
  }

  private mutating func readNames(_ folder: String) throws {
    let text = try String(contentsOfFile: "\(folder)/\(stem).modules", encoding: .utf8)
    for line in text.split(separator: "\n") {
      guard let load = try jsonObject(Data(line.utf8))["load"] as? [String: Any],
        let sites = load["sites"] as? Int, sites > 0, let path = load["path"] as? String,
        let first = load["firstFunction"] as? Int, let generation = load["generation"] as? Int
      else { continue }
      generations.append(
        DecodedGeneration(
          generation: generation, path: path, firstFunction: first, sites: sites))
      let build =
        load["symbols"] as? String ?? load["buildID"] as? String ?? Self.nameWithoutBuildID(path)
      let symbols = try String(contentsOfFile: "\(folder)/symbols/\(build)", encoding: .utf8)
      for (index, row) in symbols.split(separator: "\n").dropFirst().enumerated() {
        let name = row.split(separator: "\t", omittingEmptySubsequences: false).last ?? ""
        names[first + index] = (String(name), generation)
      }
    }
  }

  /// The name of the symbol file of a module without a build-id: FNV-1a of its path.
  private static func nameWithoutBuildID(_ path: String) -> String {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in path.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    let digits = String(hash, radix: 16)
    return "path-" + String(repeating: "0", count: 16 - digits.count) + digits
  }

  private mutating func readChunks(_ data: [UInt8]) {
    var offset = 4096
    while offset + 64 <= data.count {
      guard data.word(offset, 4) == 0x4b48_434e else {
        if data.word(offset, 4) != 0 { complaints.append("no chunk at \(offset)") }
        offset += 4096
        continue
      }
      let size = data.word(offset + 4, 4)
      let serial = data.word(offset + 12, 4)
      guard size >= 64, offset + size <= data.count else {
        complaints.append("a chunk of \(size) bytes at \(offset)")
        return
      }
      let contents = data[(offset + 64)..<(offset + size)]
      let name = data[(offset + 48)..<(offset + 64)].prefix { $0 != 0 }
      threads[serial] = String(decoding: name, as: UTF8.self)
      switch data.word(offset + 20, 4) {
      case 1:
        let used = data.word(offset + 40, 2)
        let open = data.word(offset + 28, 4)
        readEvents(Array(contents.prefix(used - 64)), open: open, at: offset)
      case 2: treeParts[serial, default: []].append(contentsOf: contents)
      case let kind: lastCounters[serial] = (kind, contents)
      }
      offset += size
    }
  }

  private mutating func count(_ function: Int, _ calls: Int = 1) {
    callsByFunction[function, default: 0] += calls
  }

  private mutating func readEvents(_ data: [UInt8], open: Int, at chunk: Int) {
    var stack = (0..<open).map { data.word($0 * 4, 4) }
    var number = 0
    if stack.count >= 2, stack[0] == 0xffff_ffff {
      number = stack[1]
      stack.removeFirst(2)
    }
    var others: [Int: [Int]] = [:]
    var isCut = stack.count == 4096  // the list is full: only the innermost functions are in it
    pairs = [:]
    var at = open * 4
    while at < data.count {
      let first = data[at]
      let size =
        first & 3 == 1
        ? 1
        : first & 3 >= 2 ? 2 : first & 7 == 4 ? 3 : first & 15 == 8 || first == 0x20 ? 4 : 8
      guard at + size <= data.count else { return complaints.append("a cut event in \(chunk)") }
      let word = data.word(at, size)
      at += size
      switch first {
      case _ where first & 1 == 1:
        close(&stack, 1, isCut, chunk)
        exits += 1
      case _ where first & 3 == 2: enterShort(&stack, word >> 8, chunk)
      case _ where first & 7 == 4: enterShort(&stack, word >> 11, chunk)
      case _ where first & 15 == 8: enterShort(&stack, word >> 19, chunk)
      case 0x60: enter(&stack, word >> 32)
      case 0x50:
        let function = stack.last ?? 0
        pairs[((word >> 8) + function * 9) % 8192] = (function, word >> 8)
        callers[function, default: [:]][word >> 8, default: 0] += 1
      case 0x20:
        let count = word >> 8 == 0xff_ffff ? stack.count : word >> 8  // all that are open
        close(&stack, count, isCut, chunk)
        unwound += count
      case 0x30:
        exits += 1
        if word >> 32 < stack.count {
          stack.remove(at: word >> 32)
        } else if !isCut {
          complaints.append("EXIT_AT \(word >> 32) of \(stack.count) in \(chunk)")
        }
      case 0x70:
        let count = word >> 8 & 0xff_ffff
        let to = word >> 32
        let list = (0..<count).map { data.word(at + 4 * $0, 4) }
        at += 4 * count
        isCut = isCut || count >= 64
        others[number] = stack
        number = to
        stack = others[to] ?? list
        if let known = others[to], count > 0, known.suffix(64) != list.suffix(64) {
          complaints.append("stack \(to) is listed as \(list), expected \(known) in \(chunk)")
        }
        others[to] = nil
        switches += 1
      case 0x80:
        let count = word >> 8 & 0xff_ffff
        let to = word >> 32
        if count > stack.count, !isCut {
          complaints.append("SPLIT \(count) of \(stack.count) in \(chunk)")
        }
        if others[to]?.isEmpty == false { complaints.append("SPLIT to \(to) in \(chunk)") }
        others[to] = Array(stack.suffix(count))
        stack.removeLast(min(count, stack.count))
      case 0x90:
        let length = word >> 16 & 0xffff
        guard at + length <= data.count, word >> 8 & 0xff < 2 else {
          return complaints.append("VALUES of \(length) bytes in \(chunk)")
        }
        at += length
        values += 1
      case 0x10, 0x40: break
      // This includes a zero byte, which would be an event that was never stored.
      default: return complaints.append("event \(first) at \(chunk) + \(64 + at - size)")
      }
    }
  }

  /// In the tracer `function`, the number stands for a pair: a function and its return address.
  private mutating func enterShort(_ stack: inout [Int], _ number: Int, _ chunk: Int) {
    guard tracer == 2 else { return enter(&stack, number) }
    guard let pair = pairs[number] else {
      return complaints.append("a call from nowhere in \(chunk)")
    }
    enter(&stack, pair.function)
    callers[pair.function, default: [:]][pair.caller, default: 0] += 1
  }

  private mutating func enter(_ stack: inout [Int], _ function: Int) {
    entries += 1
    count(function)
    stack.append(function)
  }

  private mutating func close(_ stack: inout [Int], _ many: Int, _ isCut: Bool, _ chunk: Int) {
    if many > stack.count, !isCut { complaints.append("\(many) of \(stack.count) end in \(chunk)") }
    stack.removeLast(min(many, stack.count))
  }

  private mutating func countAggregates() {
    for (_, data) in treeParts {
      for node in stride(from: 0, to: data.count - 15, by: 16) where data.word(node + 8, 8) > 0 {
        count(data.word(node, 4), data.word(node + 8, 8))
      }
    }
    for (_, counters) in lastCounters {
      let step = counters.kind == 4 ? 8 : 72  // hits, profile
      let field = counters.kind == 4 ? 0 : 8
      for at in stride(from: 0, to: counters.data.count - step + 1, by: step) {
        let calls = counters.data.word(at + field, 8)
        if calls > 0 { count(at / step, calls) }
      }
    }
  }
}

extension RandomAccessCollection<UInt8> where Index == Int {
  /// A little-endian number of up to 8 bytes. It comes from the file, so any bits are possible.
  fileprivate func word(_ offset: Int, _ size: Int) -> Int {
    var value: UInt64 = 0
    for index in 0..<size where startIndex + offset + index < endIndex {
      value |= UInt64(self[startIndex + offset + index]) << (8 * UInt64(index))
    }
    return Int(truncatingIfNeeded: value)
  }
}
