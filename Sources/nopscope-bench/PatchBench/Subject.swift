// SPDX-License-Identifier: Apache-2.0

import CMachineCode
import CUnloadLab
import CallSites
import Glibc
import LivePatching
import MachineCode
import Units

/// The library that is measured, and what is known of it before it is loaded.
struct Subject {
  let table: SiteTable
  let decoder: Decoder
  /// Exported `long f(void)` that the threads call; nil: the table of a generated library.
  let workload: String?
  let originals: SiteCodes
  let nops: SiteCodes

  init(path: String, workload: String?) throws {
    guard let absolute = realpath(path, nil) else {
      throw BenchError("\(path): \(String(cString: strerror(errno)))")
    }
    defer { free(absolute) }
    decoder = try Decoder()
    let table = try SiteTable.load(path: String(cString: absolute), decoder: decoder)
    guard !table.sites.isEmpty else {
      throw BenchError(
        "\(path): no call sites found: compile with -pg or -fpatchable-function-entry=5")
    }
    guard table.buildID != nil else {
      throw BenchError("\(path): has no build-id: link with -Wl,--build-id")
    }
    self.table = table
    self.workload = workload
    originals = SiteCodes(table.sites.map { ($0.offset, Code(table.originalBytes(of: $0))) })
    nops = SiteCodes(table.sites.map { ($0.offset, .nop(length: $0.length)) })
  }

  func load() throws -> (library: Library, patched: PatchedModule) {
    let library = try Library(path: table.path)
    guard let module = LoadedModule.all().first(where: { $0.name == table.path }) else {
      throw BenchError("\(table.path): was opened, but the loader does not list it")
    }
    return (library, try PatchedModule(module: module, table: table, decoder: decoder))
  }

  /// The calls that the threads make, each with the result that it must have.
  func calls(in library: Library) throws -> [nul_call] {
    if let workload {
      let address = try library.symbol(workload)
      let function = unsafeBitCast(address, to: (@convention(c) (Int32) -> Int32).self)
      // Called as `int f(int)`: the argument is ignored, and the low half of the result compared.
      return [nul_call(function: function, argument: 0, result: function(0))]
    }
    typealias Bound = @convention(c) () -> UnsafeRawPointer
    let bounds = try ["nopscope_bench_begin", "nopscope_bench_end"].map {
      unsafeBitCast(try library.symbol($0), to: Bound.self)()
    }
    let count = (bounds[1] - bounds[0]) / MemoryLayout<nul_call>.stride
    let first = bounds[0].assumingMemoryBound(to: nul_call.self)
    // What the linker fills between two objects' tables is zeros.
    return UnsafeBufferPointer(start: first, count: count).filter { $0.function != nil }
  }

  /// The pages that hold sites, and the bytes of text per site, from the first site to the last.
  var extent: (pages: Int, bytesPerSite: Double) {
    var pages = 0
    var last: UInt64?
    for site in table.sites {
      for page in [site.offset, site.offset + UInt64(site.length - 1)].map({ $0.rawValue >> 12 })
      where page != last {
        pages += 1
        last = page
      }
    }
    guard let first = table.sites.first, let end = table.sites.last else { return (0, 0) }
    let span = end.offset + UInt64(end.length) - first.offset
    return (pages, Double(span) / Double(table.sites.count))
  }
}

/// The bytes of all sites, apart from the text they come from: decoding them reads nothing else.
struct SiteCodes {
  private var entries: [(offset: ModuleOffset, bytes: UInt64, length: Int)]

  init(_ codes: [(offset: ModuleOffset, code: Code)]) {
    entries = codes.map { ($0.offset, $0.code.word, $0.code.length) }
  }

  var count: Int { entries.count }

  /// Decodes all of them by the function that a transaction's verifier is made of, at the addresses
  /// where they are: Capstone prints these, and a long one takes longer. The number of
  /// instructions.
  func decodeAll(_ decoder: Decoder, loadBias: LoadBias) -> Int {
    var instructions = 0
    var found = nmc_instruction()
    for entry in entries {
      let address = (loadBias + entry.offset).rawValue
      withUnsafeBytes(of: entry.bytes) { word in
        guard let bytes = word.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return }
        var done = 0
        while done < entry.length {
          let isDecoded = nmc_decode(
            decoder.handle, bytes + done, entry.length - done, address &+ UInt64(done), &found)
          precondition(isDecoded, "a site that was confirmed decodes")
          done += Int(found.length)
          instructions += 1
        }
      }
    }
    return instructions
  }
}
