// SPDX-License-Identifier: Apache-2.0

import CRecorder
import CRecordingABI
import Glibc
import RecordingSchema

/// What the recorder does at each message.
extension RecordServer {
  /// HELLO: a process image begins.
  ///
  /// The answer holds the file for its events, empty: the agent writes the header.
  func greet(_ client: Client, _ hello: nrec_hello) {
    guard client.process == nil else { return drop(client, "said HELLO twice") }
    guard hello.version == UInt32(NREC_MESSAGE_VERSION) else {
      return drop(client, "speaks version \(hello.version), expected \(NREC_MESSAGE_VERSION)")
    }
    guard hello.process == client.peer, hello.begin <= UInt32(NREC_BEGIN_FORK) else {
      return drop(client, "calls itself process \(hello.process): is it in a PID namespace?")
    }
    let parent = hello.begin == UInt32(NREC_BEGIN_FORK) ? latest[hello.copied] : nil
    let process = join(hello)
    client.process = process
    do {
      let events = Descriptor(try folder.create(process.image.events))
      close(try folder.create(process.image.modules))
      if let parent { inherit(process, from: parent, at: hello.time) }
      let config = options.config(incarnation: process.incarnation, clock: clock)
      let memory = Descriptor(nrc_shared_memory())
      guard memory.number >= 0 else {
        throw RecordingFolderError.system(
          path: process.image.events, operation: "memfd_create", errno: errnoNow())
      }
      answer(client, config, descriptors: [events.number, memory.number])
      process.files = ProcessFiles(events: events, memory: memory)
    } catch {
      warn("\(error)")
      client.hasLeft = true
    }
  }

  /// A forked child runs its parent's modules, under the numbers that the parent's plans gave them.
  private func inherit(_ child: TracedProcess, from parent: TracedProcess, at time: UInt64) {
    child.nextFunction = parent.nextFunction
    let modules = parent.modules.values.sorted { $0.message.generation < $1.message.generation }
    for module in modules
    where module.message.time <= time && !module.isPending {
      var copy = module
      copy.isInherited = true
      child.modules[module.message.generation] = copy
      write(module.line, child)
    }
  }

  /// MODULE: a module came.
  ///
  /// Planned, answered, and only then written down: a process waits.
  func plan(_ client: Client, _ told: AgentMessage.Module) {
    guard let process = client.process else { return drop(client, "sent a module before HELLO") }
    var message = told
    message.path = absolute(told.path, of: client.peer)
    disown(message, process)
    guard process.modules[message.generation] == nil, message.generation > process.lastGeneration
    else { return drop(client, "sent generation \(message.generation) again") }
    process.lastGeneration = message.generation
    var module = TracedModule(message: message, firstFunction: process.nextFunction)
    switch source.sites(path: message.path, buildID: message.buildID) {
    case .refused(let reason):
      module.status = reason
      warn("\(message.path): \(reason)")
      answer(client, module, entries: [])
    case .sites(let sites): answer(client, &module, sites, process)
    }
    process.modules[message.generation] = module
    count(module)
    if !module.isPending { write(module.line, process) }
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

  /// A forked child that loads a module under a number that was inherited has never had the
  /// parent's: the parent loaded that one after the fork, before the child said HELLO.
  private func disown(_ message: AgentMessage.Module, _ process: TracedProcess) {
    guard let known = process.modules[message.generation], known.isInherited else { return }
    process.modules[message.generation] = nil
    writeUnload(message.generation, at: message.time, process)
  }

  private func answer(
    _ client: Client, _ module: inout TracedModule, _ sites: FileSites, _ process: TracedProcess
  ) {
    module.skipped = sites.skippedCounts
    let most = Int(UInt32.max - process.nextFunction)
    guard sites.entries.count <= most else {
      module.status = "left alone: the process has no numbers left for its functions"
      warn("\(module.message.path): \(module.status)")
      return answer(client, module, entries: [])
    }
    guard saveSymbols(of: &module, sites) else {
      module.status = "left alone: its symbols cannot be saved"
      return answer(client, module, entries: [])
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
    answer(client, module, entries: plan.entries)
  }

  /// Before the plan is sent: no event may name a function whose name is not saved.
  ///
  /// Other symbols may be there under the module's name: builds whose build-id somebody has set by
  /// hand, or files without one that took turns at a path. Then its file is named after the
  /// symbols too.
  private func saveSymbols(of module: inout TracedModule, _ sites: FileSites) -> Bool {
    if sites.entries.isEmpty { return true }
    let hash = fnv1a(sites.symbols)
    let usual = module.symbolsName
    if let saved = savedSymbols[usual], saved != hash {
      module.symbolsName = "\(usual)-\(hexadecimal(hash))"
    }
    if savedSymbols[module.symbolsName] == hash { return true }
    let path = module.message.path
    let header = SymbolHeader(count: sites.entries.count, path: path).line
    do {
      guard try folder.saveSymbols(module.symbolsName, header + sites.symbols) else {
        warn("\(path): symbols/\(module.symbolsName) is there and holds something else")
        return false
      }
      savedSymbols[module.symbolsName] = hash
      return true
    } catch {
      warn("\(error)")
      return false
    }
  }

  private func answer(_ client: Client, _ module: TracedModule, entries: [nrec_plan_entry]) {
    var message = nrec_plan_message()
    message.message = UInt32(NREC_MESSAGE_PLAN)
    message.generation = module.message.generation
    message.first_function = module.firstFunction
    message.count = UInt32(entries.count)
    if entries.isEmpty { return answer(client, message) }
    let file = Descriptor(
      entries.withUnsafeBytes { nrc_memory_file($0.baseAddress, $0.count) })
    guard file.number >= 0 else {
      let error = errnoNow()
      message.count = 0
      warn("\(module.message.path): cannot hand over its plan: \(systemError(error))")
      return answer(client, message)
    }
    answer(client, message, descriptors: [file.number])
  }

  private func answer<T: BitwiseCopyable>(
    _ client: Client, _ message: T, descriptors: [Int32] = []
  ) {
    let sent = withUnsafeBytes(of: message) { bytes in
      nrc_send(
        client.socket.number, bytes.baseAddress, bytes.count, descriptors, Int32(descriptors.count))
    }
    // A client that does not read, or has ended meanwhile.
    if sent != 0 { client.hasLeft = true }
  }

  /// APPLIED: what became of a plan.
  func note(_ client: Client, _ applied: nrec_applied) {
    guard let process = client.process else { return drop(client, "applied a plan before HELLO") }
    guard var module = process.modules[applied.generation] else {
      return miss(client, process, applied.generation)
    }
    guard module.isPending else { return }
    guard Int(applied.armed) <= module.sites, Int(applied.nopped) <= module.sites else {
      return drop(client, "armed \(applied.armed) of \(module.sites) sites")
    }
    module.isPending = false
    module.armed = Int(applied.armed)
    module.status = ApplyStatus.text(applied)
    if module.status != ApplyStatus.done {
      warn("process \(process.process): \(module.message.path): \(module.status)")
    }
    process.modules[applied.generation] = module
    count(module)
    write(module.line, process)
  }

  /// A forked child may know modules that its parent told nobody of.
  private func miss(_ client: Client, _ process: TracedProcess, _ generation: UInt32) {
    if !process.isFork { drop(client, "spoke of generation \(generation), which is not there") }
  }

  /// GONE: a module went.
  func end(_ client: Client, _ gone: nrec_gone) {
    guard let process = client.process else { return drop(client, "lost a module before HELLO") }
    guard var module = process.modules[gone.generation] else {
      return miss(client, process, gone.generation)
    }
    if module.isPending { settle(&module, process) }
    process.modules[gone.generation] = nil
    writeUnload(gone.generation, at: gone.time, process)
  }

  /// The process has ended: what it had not written is written for it, and what it did not tell is
  /// not known. Not before its end: one that has closed our socket may still record.
  func settle(_ process: TracedProcess) {
    if let files = process.files,
      nrc_salvage(files.memory.number, files.events.number) < 0
    {
      warn("\(process.image.events): \(systemError(errnoNow())): its last events are lost")
    }
    process.files = nil
    settleModules(process)
  }

  /// What it did not tell, now that it can no longer.
  func settleModules(_ process: TracedProcess) {
    for generation in process.modules.keys.sorted() {
      guard var module = process.modules[generation], module.isPending else { continue }
      settle(&module, process)
      process.modules[generation] = module
    }
  }

  private func settle(_ module: inout TracedModule, _ process: TracedProcess) {
    module.isPending = false
    module.armed = 0
    module.status = "not confirmed: the process did not say what became of its plan"
    write(module.line, process)
  }

  private func writeUnload(_ generation: UInt32, at time: UInt64, _ process: TracedProcess) {
    write(.unload(ModuleUnload(generation: Int(generation), time: time)), process)
  }

  private func write(_ line: ModuleLine, _ process: TracedProcess) {
    do {
      try folder.append(RecordingJSON.encode(line), to: process.image.modules)
    } catch {
      warn("\(error)")
    }
  }
}
