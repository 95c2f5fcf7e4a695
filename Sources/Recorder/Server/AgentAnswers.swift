// SPDX-License-Identifier: Apache-2.0

import CRecorder
import CRecordingABI
import Glibc
import RecordingSchema
import Units

/// What the recorder does at each message of an agent.
extension RecordServer {
  /// HELLO: a fresh image begins.
  ///
  /// The answer says where its place in the arena is. In another PID namespace the process has
  /// another number for itself: the recording has `peer`, ours.
  func answerHello(
    _ hello: nrec_hello, from peer: Int32
  ) -> (config: nrec_config, files: [Int32])? {
    missing.read(latest: latest)
    arena.look()
    readEvents()
    let status = ProcessStatus(peer)
    let process = TracedProcess(
      process: peer, parent: status?.parent ?? hello.parent, startTime: ClockUnits(hello.time),
      incarnation: nextIncarnation(of: peer), program: linkTarget("/proc/\(peer)/exe"),
      arguments: processArguments(peer))
    do {
      let place = try arena.join(process, writer.makeFiles(of: process))
      var config = options.config(incarnation: process.incarnation, clock: clock)
      config.place = UInt32(place.number)
      config.image = place.image
      begin(process, at: place)
      return (config, [arena.file, notes.file].filter { $0 >= 0 })
    } catch {
      warn("\(error)")
      writer.add(MissingProcess(pid: peer, program: process.program, reason: "\(error)"))
      return nil
    }
  }

  /// A forked child has claimed a place.
  func handleClaim(_ claim: Arena.Claim) {
    let parent = image(claim.copied)
    let found = ClaimedProcess.find(claim, isTraced: running.isTraced)
    // One that has ended and cannot be found has its parent's number, as another image.
    let pid = found ?? parent?.process ?? 0
    // A copy has its parent's program and arguments. In /proc it may have those of the next one already.
    let program = parent?.program ?? linkTarget("/proc/\(pid)/exe")
    let process = TracedProcess(
      process: pid, parent: parent?.process ?? 0, startTime: claim.time,
      incarnation: nextIncarnation(of: pid), program: program,
      arguments: parent?.arguments ?? processArguments(pid), copied: parent, isFork: true)
    do {
      let (place, error) = arena.adopt(process, claim, try writer.makeFiles(of: process))
      if error != 0 { warn("\(process.image.events): cannot write: \(systemError(error))") }
      begin(process, at: place, isRunning: found != nil)
    } catch {
      warn("\(error)")
      writer.add(MissingProcess(pid: pid, program: program, reason: "\(error)"))
    }
  }

  /// One message of an agent; nil: bytes that are none.
  func handle(_ message: AgentMessage?, from process: TracedProcess) {
    switch message {
    case .module(let module): answerModule(module, from: process)
    case .applied(let applied): handleApplied(applied, from: process)
    case .gone(let gone): handleGone(gone, from: process)
    case .inherited(let generations, let isLast):
      handleInherited(generations, isLast: isLast, from: process)
    case nil: refuse(process, because: "sent bytes that are no message")
    }
  }

  /// Reads nothing more from a process, and says why.
  private func refuse(_ process: TracedProcess, because reason: String) {
    warn(
      "process \(process.process): its agent \(reason): the program runs on, and what it loads from "
        + "now on is not traced")
    process.isRefused = true
  }

  /// INHERITED: which modules a forked child has of its parent, under the numbers that the parent's
  /// plans gave them. The parent may have unloaded some of them since.
  private func handleInherited(
    _ generations: [UInt32], isLast: Bool, from process: TracedProcess
  ) {
    guard let parent = process.copied else {
      return refuse(process, because: "inherited modules from no known process")
    }
    process.inherited += generations
    guard process.inherited.count <= Self.mostModules else {
      return refuse(process, because: "inherited more than \(Self.mostModules) modules")
    }
    if isLast { inherit(process, from: parent) }
  }

  private func inherit(_ child: TracedProcess, from parent: TracedProcess) {
    let generations = child.inherited
    child.copied = nil
    child.inherited = []
    // The child shares its parent's table for as long as both are the same.
    if generations.count == parent.modules.count { child.modules = parent.modules }
    let wanted = Set(generations)
    for generation in child.modules.keys where !wanted.contains(generation) {
      child.modules[generation] = nil
    }
    child.highestGeneration = max(child.highestGeneration, parent.highestGeneration)
    var unknown = 0
    for generation in wanted where child.modules[generation] == nil {
      child.modules[generation] = parent.modules[generation] ?? parent.unloaded[generation]
      // What the parent was about to report when it forked was not patched: nothing in it is traced.
      let isReported = generation <= parent.highestGeneration
      if child.modules[generation] == nil, isReported { unknown += 1 }
    }
    for module in child.modules.values where module.isPending {
      child.modules[module.message.generation] = nil
    }
    if unknown > 0 {
      warn(
        "process \(child.process): what it calls in \(unknown) of its modules has no names: its "
          + "parent \(parent.process) unloaded them or ended, long before the first of these calls")
    }
    let modules = child.modules.values.sorted { $0.message.generation < $1.message.generation }
    writer.writeLoads(modules, of: child)
    readPostponed(by: child)
  }

  /// A copy has ended before it has named its modules. Copies of it may have any that its parent had.
  func inheritAll(_ child: TracedProcess) {
    guard let parent = child.copied else { return }
    if parent.copied != nil { inheritAll(parent) }
    // Its own messages may have waited for its parent's.
    guard child.copied != nil else { return }
    child.inherited = Array(parent.modules.keys)
    inherit(child, from: parent)
  }
}

// MARK: - A module was loaded

extension RecordServer {
  /// Of one process at once: the kernel gives it no more mappings than that (vm.max_map_count).
  static let mostModules = 65_536

  /// MODULE: a module was loaded.
  ///
  /// The module's line is written only after the answer, because the process waits for the answer.
  private func answerModule(_ sent: AgentMessage.Module, from process: TracedProcess) {
    var message = sent
    message.path = absolute(sent.path, of: process.process)
    guard process.modules[message.generation] == nil, message.generation > process.lastGeneration
    else {
      return refuse(
        process, because: "sent generation \(message.generation) a second time")
    }
    guard process.modules.count < Self.mostModules else {
      return refuse(
        process, because: "has loaded more than \(Self.mostModules) modules at once")
    }
    process.lastGeneration = message.generation
    process.highestGeneration = max(process.highestGeneration, message.generation)
    var module = TracedModule(message: message, firstFunction: process.nextFunction)
    switch source.sites(path: message.path, buildID: message.buildID) {
    case .refused(let reason):
      module.status = reason
      warn("\(message.path): \(reason)")
      sendPlan(of: module, Plan.nothing, to: process)
    case .sites(let sites): plan(&module, sites, process)
    }
    process.modules[message.generation] = module
    writer.count(module)
    if !module.isPending { writer.writeLoads([module], of: process) }
    keepSitesLater()
  }

  /// Puts what was found into the cache once the program loads nothing for a moment: a program that
  /// loads many files at once does not wait for that.
  private func keepSitesLater() {
    guard source.hasUnkept, !isKeepPlanned else { return }
    isKeepPlanned = true
    loop.whenQuiet(nanoseconds: Self.quietNanoseconds) { [weak self] in
      self?.isKeepPlanned = false
      self?.source.keep()
    }
  }

  /// The loader keeps the path that dlopen was given, which may be relative, or the process's own
  /// way to a file that has no name any more.
  private func absolute(_ path: String, of process: Int32) -> String {
    for own in ["/proc/self/", "/proc/thread-self/"] where path.hasPrefix(own) {
      return "/proc/\(process)/" + path.dropFirst(own.count)
    }
    if path.hasPrefix("/dev/fd/") { return "/proc/\(process)/fd/" + path.dropFirst(8) }
    if path.hasPrefix("/") || path.isEmpty { return path }
    let folder = linkTarget("/proc/\(process)/cwd")
    return folder.hasPrefix("/") ? "\(folder)/\(path)" : path
  }

  private func plan(
    _ module: inout TracedModule, _ sites: FileSites, _ process: TracedProcess
  ) {
    module.skipped = sites.skippedCounts
    for problem in sites.outsideNames?.problems ?? [] { warn(problem) }
    let most = Int(UInt32.max - process.nextFunction)
    guard sites.entries.count <= most else {
      module.status = "left alone: the process has no numbers left for its functions"
      warn("\(module.message.path): \(module.status)")
      return sendPlan(of: module, Plan.nothing, to: process)
    }
    guard writer.saveSymbols(of: &module, sites) else {
      module.status = "left alone: its symbols cannot be saved"
      return sendPlan(of: module, Plan.nothing, to: process)
    }
    var plan = planner.plan(
      sites, module: module.message.path, firstFunction: process.nextFunction)
    if plan.reason == nil, !plan.valued.isEmpty { addValues(to: &plan, of: module, sites) }
    module.sites = plan.entries.count
    module.armed = plan.armed
    module.unwanted = plan.unwanted
    module.plan = plan.choices.text
    process.nextFunction += UInt32(plan.entries.count)
    if let reason = plan.reason {
      module.status = reason
      warn("\(module.message.path): \(reason)")
    }
    module.isPending = !plan.entries.isEmpty && plan.reason == nil
    sendPlan(of: module, plan, to: process)
    ruleUse.note(sites, module: module.message.path)
  }

  private func addValues(to plan: inout Plan, of module: TracedModule, _ sites: FileSites) {
    let readings = arguments.readings(of: plan, module, sites)
    for warning in readings.warnings { warn(warning) }
    if let file = readings.file {
      do {
        try writer.folder.replaceSymbols(
          module.symbolsName + RecordingFormat.argumentsSuffix, file.bytes)
      } catch {
        return warn("\(error)")
      }
    }
    plan.add(readings.fetches)
  }

  private func sendPlan(of module: TracedModule, _ plan: Plan, to process: TracedProcess) {
    guard let place = process.place else { return }
    var message = nrec_plan_message()
    message.message = UInt32(NREC_MESSAGE_PLAN)
    message.generation = module.message.generation
    message.first_function = module.firstFunction
    message.count = UInt32(plan.entries.count)
    message.fetches = UInt32(plan.fetches.count)
    if arena.answer(message, plan.entries, plan.fetches, to: place) { return }
    warn("\(module.message.path): its plan cannot be sent: no memory is left for it")
    message.count = 0
    message.fetches = 0
    _ = arena.answer(message, [], [], to: place)
  }
}

// MARK: - What became of it

extension RecordServer {
  /// APPLIED: the agent has applied a plan, or could not.
  private func handleApplied(_ applied: nrec_applied, from process: TracedProcess) {
    guard var module = process.modules[applied.generation] else {
      return refuseUnknown(applied.generation, of: process)
    }
    guard module.isPending else { return }
    guard Int(applied.armed) <= module.sites, Int(applied.nopped) <= module.sites else {
      return refuse(
        process, because: "armed \(applied.armed) of \(module.sites) call sites")
    }
    module.isPending = false
    module.armed = Int(applied.armed)
    module.status = ApplyStatus.text(applied)
    module.isAnomaly = applied.status != 0 && applied.is_off != 0
    if module.status != ApplyStatus.done {
      warn("process \(process.process): \(module.message.path): \(module.status)")
    }
    process.modules[applied.generation] = module
    writer.count(module)
    writer.writeLoads([module], of: process)
  }

  /// GONE: a module was unloaded.
  private func handleGone(_ gone: nrec_gone, from process: TracedProcess) {
    guard var module = process.modules[gone.generation] else {
      return refuseUnknown(gone.generation, of: process)
    }
    if module.isPending { writeUnconfirmed(&module, of: process) }
    process.modules[gone.generation] = nil
    process.unloaded.add(module)
    writer.writeUnload(gone.generation, at: ClockUnits(gone.time), of: process)
  }

  /// Except a forked child's: the child may have modules that its parent had not sent yet.
  private func refuseUnknown(_ generation: UInt32, of process: TracedProcess) {
    if process.isFork { return }
    refuse(process, because: "named generation \(generation), which it has not loaded")
  }
}
