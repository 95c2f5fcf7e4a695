// SPDX-License-Identifier: Apache-2.0

import CPatchCore
import CSoak
import CallSites
import Glibc
import LivePatching
import MachineCode
import Synchronization
import Units

/// Loads and unloads libraries in its slots, in every way there is.
final class SoakLoader {
  private let slots: [SoakSlot]
  private let libraries: SoakLibraries
  private var generator: SoakGenerator
  private let tally: SoakTally
  /// Transactions exclude one another, so that all may use one; looking for sites is no
  /// transaction.
  private let patching, discovering: Decoder
  private var open: [Loaded?]
  private var tables: [Int: SiteTable] = [:]
  private var last: [(index: Int, span: Range<CodeAddress>)?]
  /// No other loader takes these: one file is one module, whoever opens it.
  private let ownIndices: Range<Int>
  /// Of these, those that are never in a slot.
  private static let spare = 12
  private let privateFolder: String

  /// What is loaded in one slot.
  private struct Loaded {
    var handles: [UnsafeMutableRawPointer]
    var index: Int
    var generation: SoakGeneration
  }

  init(
    slots: [SoakSlot], libraries: SoakLibraries, indices: Range<Int>, folder: String, seed: UInt64,
    stream: UInt64, tally: SoakTally
  ) throws {
    ownIndices = indices
    last = slots.map { _ in nil }
    self.slots = slots
    self.libraries = libraries
    self.tally = tally
    generator = SoakGenerator(seed: seed, stream: stream)
    (patching, discovering) = (try Decoder(), try Decoder())
    open = slots.map { _ in nil }
    privateFolder = "\(folder)/private-\(stream)"
    mkdir(privateFolder, 0o700)
  }

  func turn() throws {
    let place = generator.below(slots.count)
    if open[place] != nil {
      try close(place)
      // At once, while the toggler may still be at the old one's sites.
      if generator.isOne(in: 2) { try load(place) }
    } else {
      try load(place)
    }
    if generator.isOne(in: 64) { try disturb() }
  }

  func closeAll() throws {
    for place in slots.indices where open[place] != nil { try close(place) }
  }

  // MARK: - Coming

  private func load(_ place: Int) throws {
    let slot = slots[place]
    let share = (ownIndices.count - Self.spare) / slots.count
    var index = ownIndices.lowerBound + place * share + generator.below(share)
    let last = self.last[place]
    if let last, generator.isOne(in: 3) { index = last.index }
    let (path, after) = try choosePath(index, place)
    let occupied = generator.isOne(in: 8) ? last.flatMap { Occupied($0.span) } : nil
    if occupied != nil { tally.add("loads whose old place was taken") }
    var handles = [try open(path)]
    occupied?.leave()
    if generator.isOne(in: 8) {
      handles.append(try open(path))
      tally.add("second references")
    }
    after()
    let functions = try (0..<SoakLibraries.functionCount).map { try symbol("f\($0)", handles[0]) }
    let generation = try take(index, path, functions[0], slot)
    for function in generation.armed { try arm(function, generation) }
    csk_fill(slot.slot, functions, libraries.number(index))
    generation.begin(slot.slot)
    slot.isWanted.store(true, ordering: .relaxed)
    slot.withLock {
      slot.isWanted.store(false, ordering: .relaxed)
      slot.isClosing.store(false, ordering: .sequentiallyConsistent)
      slot.generation = generation
    }
    open[place] = Loaded(handles: handles, index: index, generation: generation)
    self.last[place] = (index, generation.module.span)
    csk_open(slot.slot)
    tally.add("loads")
  }

  /// A run of nops is left alone as long as a vfork child, which is in no list, may be in it.
  private func arm(_ function: Int, _ generation: SoakGeneration) throws {
    for attempt in 1... {
      do throws(PatchError) {
        try generation.patched.set(
          [generation.sites[function]], to: .call(generation.stubs[function]))
        return
      } catch {
        guard [.threadInside, .notStopped].contains(error.reason), attempt < 100 else {
          throw error
        }
        tally.add("transactions refused, and made again")
        usleep(1000)
      }
    }
  }

  /// As it is in its folder; or a file of this slot's own that replaces what was there before;
  /// or one that is deleted once it is loaded.
  private func choosePath(_ index: Int, _ place: Int) throws -> (String, () -> Void) {
    let build = SoakLibraries.Build.allCases[index % SoakLibraries.Build.allCases.count]
    let isAlone = build != .loading && build != .needing
    let choice = generator.below(8)
    guard isAlone, choice < 2 else { return (libraries.path(index), {}) }
    let path = "\(privateFolder)/\(place).so"
    try writeBytes(readBytes(libraries.path(index)), to: path + ".new")
    rename(path + ".new", path)
    if choice == 0 {
      tally.add("files replaced between two loads")
      return (path, {})
    }
    tally.add("files deleted while they were loaded")
    return (path, { unlink(path) })
  }

  private func open(_ path: String) throws -> UnsafeMutableRawPointer {
    guard let handle = dlopen(path, RTLD_NOW | RTLD_LOCAL) else {
      throw SoakDeviation(description: "dlopen of \(path): \(String(cString: dlerror()))")
    }
    return handle
  }

  private func symbol(
    _ name: String, _ handle: UnsafeMutableRawPointer
  ) throws -> UnsafeMutableRawPointer {
    guard let address = dlsym(handle, name) else {
      throw SoakDeviation(description: "dlsym of \(name): \(String(cString: dlerror()))")
    }
    return address
  }

  /// Other threads unload too: between the look and the patcher's own look, what was listed may
  /// have gone stale, and then it says so.
  private func take(
    _ index: Int, _ path: String, _ function: UnsafeMutableRawPointer, _ slot: SoakSlot
  ) throws -> SoakGeneration {
    let table =
      try tables[index] ?? SiteTable.discover(path: libraries.path(index), decoder: discovering)
    tables[index] = table
    for _ in 0..<10_000 {
      guard let module = LoadedModule.find(containing: CodeAddress(function)) else {
        throw SoakDeviation(description: "\(path): loaded, but not listed")
      }
      do {
        return try SoakGeneration(
          table: table, module: module, decoder: patching, stubs: slot.stubs(for: module, tally),
          generator: &generator)
      } catch let error as PatchError where error.reason == .stale {
        tally.add("looks at a module that were stale")
      }
    }
    throw SoakDeviation(description: "\(path): stale in 10,000 looks")
  }

  // MARK: - Going

  private func close(_ place: Int) throws {
    guard let loaded = open[place] else { return }
    let slot = slots[place]
    open[place] = nil
    if loaded.handles.count > 1 {
      dlclose(loaded.handles[1])
      usleep(UInt32(generator.below(500)))
      guard loaded.generation.patched.isLoaded else {
        throw SoakDeviation(
          description: "\(loaded.generation.module.name): gone with one of two references")
      }
    }
    csk_close(slot.slot)
    try loaded.generation.check(now: loaded.generation.counts(slot.slot))
    slot.isClosing.store(true, ordering: .sequentiallyConsistent)
    dlclose(loaded.handles[0])
    guard !loaded.generation.patched.isLoaded else {
      throw SoakDeviation(
        description: "\(loaded.generation.module.name): still there after dlclose")
    }
    if generator.isOne(in: 2) {
      try openAtOnce(loaded.index)
    }
    slot.isWanted.store(true, ordering: .relaxed)
    slot.withLock {
      slot.isWanted.store(false, ordering: .relaxed)
      slot.generation = nil
    }
    tally.add("unloads")
  }

  /// The same library, normally at the same place, while the toggler still has the old generation:
  /// none of its sites may be touched.
  private func openAtOnce(_ index: Int) throws {
    let table = tables[index]
    let handle = try open(libraries.path(index))
    defer { dlclose(handle) }
    usleep(UInt32(generator.below(200)))
    let function = try symbol("f0", handle)
    guard let table, let module = LoadedModule.find(containing: CodeAddress(function)) else {
      return
    }
    for site in table.sites {
      let live = UnsafeRawBufferPointer(
        start: (module.loadBias + site.offset).pointer, count: site.length)
      guard live.elementsEqual(table.originalBytes(of: site)) else {
        throw SoakDeviation(
          description:
            "\(module.name)+\(site.offset): a new generation was written to: "
            + "expected \(table.originalBytes(of: site)), found \(Array(live))")
      }
    }
    tally.add("reloads whose sites an older generation was being toggled at")
  }

  // MARK: - Besides

  private func disturb() throws {
    switch generator.below(4) {
    case 0:
      for path in libraries.brokenPaths {
        guard dlopen(path, RTLD_NOW) == nil else {
          throw SoakDeviation(description: "\(path): was loaded, broken as it is")
        }
        tally.add("loads that failed")
      }
    case 1:
      let index = generator.below(SoakLibraries.count)
      let problem = csk_in_another_namespace(libraries.path(index), libraries.number(index))
      guard problem == 0 else {
        throw SoakDeviation(
          description: "dlmopen of \(libraries.path(index)): problem \(problem): "
            + (dlerror().map { String(cString: $0) } ?? ""))
      }
      tally.add("loads into another namespace")
    case 2:
      tally.add(
        csk_let_libc_load() ? "loads by libc itself" : "loads by libc itself, not to be had")
    default: try coverText()
    }
  }

  /// Other memory over the text of a library, behind the loader's back: what the patcher finds
  /// there is not what it expects, and it writes nothing.
  private func coverText() throws {
    let index = ownIndices.upperBound - 1 - generator.below(Self.spare)
    let path = libraries.path(index)
    let handle = try open(path)
    defer { dlclose(handle) }
    let generation = try take(index, path, symbol("f0", handle), slots[0])
    let text = generation.module.text
    let first = text.lowerBound.rounded(downTo: 4096)
    let start = first.pointer
    let length = Int(text.upperBound.rounded(upTo: 4096) - first)
    let protection = generator.isOne(in: 2) ? PROT_NONE : PROT_READ | PROT_EXEC
    mmap(start, length, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0)
    var found: PatchError?
    do { try generation.patched.set(generation.sites.sorted(), to: .nop) } catch { found = error }
    // Its destructors are there: as it was, before it goes.
    let file = Glibc.open(path, O_RDONLY | O_CLOEXEC)
    mmap(
      start, length, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, file,
      off_t((first - generation.module.loadBias).rawValue))
    Glibc.close(file)
    // Where the build-id lies beside the text, it is gone too.
    let expected: [PatchError.Reason] = [
      protection == PROT_NONE ? .unreadable : .mismatch, .moduleGone,
    ]
    guard let found, expected.contains(found.reason) else {
      throw SoakDeviation(
        description: "\(path): its text was covered, and patching it said: "
          + (found?.description ?? "done"))
    }
    tally.add("texts covered by other memory")
  }
}

/// Keeps the memory where a library was from being used again.
struct Occupied {
  private let start: UnsafeMutableRawPointer
  private let length: Int

  init?(_ span: Range<CodeAddress>) {
    length = Int((span.byteCount + 4095) & ~4095)
    let at = span.lowerBound.pointer
    let fixed = MAP_PRIVATE | MAP_ANONYMOUS | Int32(0x10_0000)  // MAP_FIXED_NOREPLACE
    guard let memory = mmap(at, length, PROT_NONE, fixed, -1, 0), memory != MAP_FAILED else {
      return nil
    }
    start = memory
  }

  func leave() { munmap(start, length) }
}
