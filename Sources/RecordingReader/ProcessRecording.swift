// SPDX-License-Identifier: Apache-2.0

import CRecordingABI
import FunctionNames
import RecordingSchema
public import Units

/// One program image that ran: a process between two execs.
public struct ProcessRecording: Sendable {
  /// The process id.
  public let pid: Int32
  /// Counts the execs of the pid, from 0.
  public let incarnation: UInt32
  /// The parent's process id when it began.
  public let parent: Int32
  /// Path of the executable, where session.json or the modules have it; else nil.
  public let program: String?
  /// The program's name and its arguments; nil where the recording does not say. Not safe for a terminal
  /// as they are.
  public let arguments: [String]?
  /// Nil where neither the event file nor the session has it.
  public let tracer: Tracer?
  /// In order of their first function's number.
  public let modules: [RecordedModule]
  /// In order of their serials.
  public let threads: [ThreadRecording]
  /// Zero where the file header is damaged.
  public let startTime: ClockUnits
  /// When it ended, or the recording did; zero where that is not known.
  public let endTime: ClockUnits
  /// Since 1970, by the clock on the wall.
  public let startRealtimeNanoseconds: UInt64
  /// Bytes of the event file on disk.
  public let bytes: UInt64
  /// By the agent's own account.
  ///
  /// A chunk that found no space is counted as one event: how many it held is not known.
  public let lostEvents: UInt64
  /// Chunks that found no space, with all their events.
  public let lostChunks: UInt64
  /// Times the program waited for the disk, and how long in all.
  public let waits: UInt64
  /// How long the program waited for the disk in all.
  public let waitNanoseconds: UInt64
  /// By the agent's count, where its tracer writes no events; else 0.
  public let countedCalls: UInt64
  /// It closed its recording itself.
  public let hasEnded: Bool
  /// Something went wrong in the traced process and turned the tracer off.
  public let isMarkedCorrupted: Bool
  /// What was marked is that a function returned, and where to was not known: the program was ended.
  public let hasLostReturn: Bool
  /// A flight recorder: only the end of each thread was kept.
  public let isOverwriting: Bool
  /// No space was left: later events were only counted.
  public let isFull: Bool
  /// A child that clone(2) started used a thread's thread-local storage: from then on the thread's
  /// events were only counted.
  public let hasSharedThread: Bool
  /// The program installed a system call filter that forbids patching: what it loaded later is not
  /// traced.
  public let isConfined: Bool
  /// A thread may not read the time stamp counter: from then on its events were only counted.
  public let hasThreadWithoutClock: Bool
  /// Nanoseconds per unit.
  public let scale: Double

  let symbols: SymbolStore
  let names: NameStyle

  /// Until when its open calls last: nil where a thread's recording may have ended before it did.
  public var openCallsEnd: ClockUnits? {
    let mayBeCut = isFull || hasSharedThread || hasThreadWithoutClock
    return mayBeCut || endTime == .zero ? nil : endTime
  }

  /// A duration in nanoseconds, rounded; what no Int holds becomes Int.max.
  @inlinable
  public func nanoseconds(ofUnits units: ClockUnits) -> Int {
    Int(exactly: (Double(units.rawValue) * scale).rounded()) ?? Int.max
  }
}

// MARK: - Functions

extension ProcessRecording {
  /// The module that a function's number belongs to.
  public func moduleIndex(ofFunction number: UInt64) -> Int? {
    var low = 0
    var high = modules.count
    while low < high {
      let middle = (low + high) / 2
      if modules[middle].firstFunction <= number { low = middle + 1 } else { high = middle }
    }
    // A module without sites shares its first number with the next.
    while low > 0 {
      let module = modules[low - 1]
      if number - module.firstFunction < UInt64(module.sites) { return low - 1 }
      if module.sites > 0 { return nil }
      low -= 1
    }
    return nil
  }

  /// The function that a number stands for.
  ///
  /// Costs a search and a demangling: keep the answer.
  public func function(_ number: UInt64) -> FunctionName {
    guard let index = moduleIndex(ofFunction: number) else {
      return FunctionName(generation: 0, isEntryOnly: false)
    }
    let module = modules[index]
    let place = Int(number - module.firstFunction)
    var function = FunctionName(
      moduleIndex: index, modulePath: module.path, buildID: module.buildID,
      generation: module.generation, isEntryOnly: false)
    guard let file = symbols.symbols(of: module), place < file.sites.count else { return function }
    let site = file.sites[place]
    function.offset = site.offset
    function.source = file.sourceLines[place]
    function.isEntryOnly = site.flags & UInt8(NREC_SITE_ENTRY_ONLY) != 0
    if !site.name.isEmpty {
      function.rawName = site.name
      function.name = names.name(site.name)
    }
    return function
  }

  /// What is recorded with calls of a function; nil: nothing more than when they were.
  ///
  /// Costs a search: keep the answer.
  public func signature(_ number: UInt64) -> CallSignature? {
    guard let index = moduleIndex(ofFunction: number) else { return nil }
    let module = modules[index]
    guard let file = symbols.symbols(of: module)?.signatures,
      let function = file.functions[UInt32(truncatingIfNeeded: number - module.firstFunction)]
    else { return nil }
    return CallSignature(function, of: file)
  }

  /// Link-time addresses of a module's sites, in the order of its table: as many as its file of
  /// symbols has, and at most as many as its line says.
  public func siteOffsets(ofModule index: Int) -> [ModuleOffset] {
    let module = modules[index]
    return (symbols.symbols(of: module)?.sites ?? []).prefix(module.sites).map(\.offset)
  }

  /// The numbers of all functions whose returns are not hooked.
  public func entryOnlyFunctions() -> Set<UInt64> {
    var numbers: Set<UInt64> = []
    for module in modules where module.sites > 0 {
      guard let file = symbols.symbols(of: module) else { continue }
      for (index, site) in file.sites.enumerated()
      where site.flags & UInt8(NREC_SITE_ENTRY_ONLY) != 0 && index < module.sites {
        numbers.insert(module.firstFunction + UInt64(index))
      }
    }
    return numbers
  }

  /// The name of the instrumented function at or before a return address, in the module that
  /// was there at `time`; `libc.so.6+0x2724a` where there is none before it; nil where no module
  /// was.
  ///
  /// A caller that is not instrumented is named after its neighbour: only call sites are known.
  public func caller(at address: CodeAddress, time: ClockUnits) -> String? {
    for module in modules
    where module.textStart <= address && address < module.textEnd && module.loadTime <= time
      && time <= module.unloadTime ?? .max
    {
      let offset = address - module.loadBias
      let file = module.sites > 0 ? symbols.symbols(of: module) : nil
      if let site = file?.site(atOrBefore: offset), !site.name.isEmpty {
        return names.name(site.name)
      }
      return "\(module.path.split(separator: "/").last ?? "?")+\(offset)"
    }
    return nil
  }
}
