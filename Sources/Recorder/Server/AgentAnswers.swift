// SPDX-License-Identifier: Apache-2.0

import CRecorder
import CRecordingABI
import Glibc
import RecordingSchema
import Units

/// What the recorder does at each message of an agent.
extension RecordServer {
  /// HELLO: a process image begins.
  ///
  /// The answer holds the file for its events, empty: the agent writes the header.
  func answerHello(_ hello: nrec_hello, on connection: AgentConnection) {
    missing.read(latest: latest)
    if hello.process != connection.peer, connection.process == nil {
      missing.refuse(
        hello.process, peer: connection.peer, program: linkTarget("/proc/\(connection.peer)/exe"),
        because: "it is in another PID namespace, where it is process \(hello.process)")
      connection.isClosing = true
      return
    }
    if let reason = whyRefused(hello, on: connection) {
      return connections.drop(connection, because: reason)
    }
    let parent = hello.begin == UInt32(NREC_BEGIN_FORK) ? latest[hello.copied] : nil
    let process = makeProcess(hello)
    connections.introduce(connection, as: process)
    // After the answer: the process waits for that.
    defer {
      writer.add(process)
      missing.settle(process)
    }
    do {
      let events = try writer.makeFiles(of: process)
      if let parent {
        process.nextFunction = parent.nextFunction
        process.copied = parent
      }
      let config = options.config(incarnation: process.incarnation, clock: clock)
      let memory = Descriptor(nrc_shared_memory())
      guard memory.number >= 0 else {
        throw RecordingFolderError.system(
          path: process.image.events, operation: "cannot make shared memory for its events",
          errno: errnoNow())
      }
      var descriptors = [events.number, memory.number]
      if !process.isFork, notes.file >= 0 { descriptors.append(notes.file) }
      connection.send(config, descriptors: descriptors)
      process.files = ProcessFiles(events: events, memory: memory)
    } catch {
      warn("\(error)")
      writer.add(
        MissingProcess(
          pid: process.process, program: process.program, reason: "\(error)"))
      connection.isClosing = true
    }
  }

  private func whyRefused(_ hello: nrec_hello, on connection: AgentConnection) -> String? {
    if connection.process != nil { return "sent a second HELLO" }
    if hello.version != UInt32(NREC_MESSAGE_VERSION) {
      return "uses message version \(hello.version), expected \(NREC_MESSAGE_VERSION)"
    }
    if hello.begin > UInt32(NREC_BEGIN_FORK) {
      return "sent a HELLO with begin \(hello.begin), expected 0 or 1"
    }
    return nil
  }

  /// INHERITED: which modules a forked child has of its parent, under the numbers that the parent's
  /// plans gave them. The parent may have unloaded some of them since.
  func handleInherited(
    _ generations: [UInt32], isLast: Bool, on connection: AgentConnection
  ) {
    guard let process = connection.process, let parent = process.copied else {
      return connections.drop(connection, because: "inherited modules from no known process")
    }
    process.inherited += generations
    guard process.inherited.count <= Self.mostModules else {
      return connections.drop(
        connection, because: "inherited more than \(Self.mostModules) modules")
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
  }
}

// MARK: - A module was loaded

extension RecordServer {
  /// Of one process at once: the kernel gives it no more mappings than that (vm.max_map_count).
  static let mostModules = 65_536

  /// MODULE: a module was loaded.
  ///
  /// The module's line is written only after the answer, because the process waits for the answer.
  func answerModule(_ sent: AgentMessage.Module, on connection: AgentConnection) {
    guard let process = connection.process else {
      return connections.drop(connection, because: "sent a module before its HELLO")
    }
    var message = sent
    message.path = absolute(sent.path, of: connection.peer)
    guard process.modules[message.generation] == nil, message.generation > process.lastGeneration
    else {
      return connections.drop(
        connection, because: "sent generation \(message.generation) a second time")
    }
    guard process.modules.count < Self.mostModules else {
      return connections.drop(
        connection, because: "has loaded more than \(Self.mostModules) modules at once")
    }
    process.lastGeneration = message.generation
    process.highestGeneration = max(process.highestGeneration, message.generation)
    var module = TracedModule(message: message, firstFunction: process.nextFunction)
    switch source.sites(path: message.path, buildID: message.buildID) {
    case .refused(let reason):
      module.status = reason
      warn("\(message.path): \(reason)")
      sendPlan(of: module, entries: [], on: connection)
    case .sites(let sites): plan(&module, sites, process, on: connection)
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
    _ module: inout TracedModule, _ sites: FileSites, _ process: TracedProcess,
    on connection: AgentConnection
  ) {
    module.skipped = sites.skippedCounts
    for problem in sites.outsideNames?.problems ?? [] { warn(problem) }
    let most = Int(UInt32.max - process.nextFunction)
    guard sites.entries.count <= most else {
      module.status = "left alone: the process has no numbers left for its functions"
      warn("\(module.message.path): \(module.status)")
      return sendPlan(of: module, entries: [], on: connection)
    }
    guard writer.saveSymbols(of: &module, sites) else {
      module.status = "left alone: its symbols cannot be saved"
      return sendPlan(of: module, entries: [], on: connection)
    }
    let plan = planner.plan(
      sites, module: module.message.path, firstFunction: process.nextFunction)
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
    sendPlan(of: module, entries: plan.entries, on: connection)
  }

  private func sendPlan(
    of module: TracedModule, entries: [nrec_plan_entry], on connection: AgentConnection
  ) {
    var message = nrec_plan_message()
    message.message = UInt32(NREC_MESSAGE_PLAN)
    message.generation = module.message.generation
    message.first_function = module.firstFunction
    message.count = UInt32(entries.count)
    if entries.isEmpty { return connection.send(message) }
    let file = Descriptor(
      entries.withUnsafeBytes { nrc_memory_file($0.baseAddress, $0.count) })
    guard file.number >= 0 else {
      let error = errnoNow()
      message.count = 0
      warn("\(module.message.path): its plan cannot be sent: \(systemError(error))")
      return connection.send(message)
    }
    connection.send(message, descriptors: [file.number])
  }
}

// MARK: - What became of it

extension RecordServer {
  /// APPLIED: the agent has applied a plan, or could not.
  func handleApplied(_ applied: nrec_applied, on connection: AgentConnection) {
    guard let process = connection.process else {
      return connections.drop(connection, because: "applied a plan before its HELLO")
    }
    guard var module = process.modules[applied.generation] else {
      return refuseUnknown(applied.generation, of: process, on: connection)
    }
    guard module.isPending else { return }
    guard Int(applied.armed) <= module.sites, Int(applied.nopped) <= module.sites else {
      return connections.drop(
        connection, because: "armed \(applied.armed) of \(module.sites) call sites")
    }
    module.isPending = false
    module.armed = Int(applied.armed)
    module.status = ApplyStatus.text(applied)
    if module.status != ApplyStatus.done {
      warn("process \(process.process): \(module.message.path): \(module.status)")
    }
    process.modules[applied.generation] = module
    writer.count(module)
    writer.writeLoads([module], of: process)
  }

  /// GONE: a module was unloaded.
  func handleGone(_ gone: nrec_gone, on connection: AgentConnection) {
    guard let process = connection.process else {
      return connections.drop(connection, because: "unloaded a module before its HELLO")
    }
    guard var module = process.modules[gone.generation] else {
      return refuseUnknown(gone.generation, of: process, on: connection)
    }
    if module.isPending { writeUnconfirmed(&module, of: process) }
    process.modules[gone.generation] = nil
    process.unloaded.add(module)
    writer.writeUnload(gone.generation, at: ClockUnits(gone.time), of: process)
  }

  /// Closes the connection, except a forked child's: the child may have modules that its parent had
  /// not sent yet.
  private func refuseUnknown(
    _ generation: UInt32, of process: TracedProcess, on connection: AgentConnection
  ) {
    if process.isFork { return }
    connections.drop(connection, because: "named generation \(generation), which it has not loaded")
  }
}
