// SPDX-License-Identifier: Apache-2.0
//
// One visit of a process that runs: a thread is begun there that calls one function of the agent,
// and goes. Between visits there is nothing of ours in the process but memory.

import CVisit
import Glibc

/// What a visit calls in the process.
public struct VisitCall: Sendable {
  /// One of the words that the agent's function is given.
  public enum Argument: Sendable {
    case number(UInt64)
    /// The descriptor of its end of a connection; the other is `VisitInProgress.takeConnection`'s.
    case connection
    /// The address of memory for `VisitOutcome.result`.
    case result
    /// The address of an npc_outside: with it the function can have all other threads stopped.
    case table
  }

  /// Path of the agent's library.
  public var agent: String
  /// One of its exported functions: `int function(const uint64_t argument[4])`, 0 or an errno.
  public var function: String
  /// At most four words.
  public var arguments: [Argument]
  /// How long the function may take.
  public var seconds: Int

  /// At most four arguments.
  public init(agent: String, function: String, arguments: [Argument] = [], seconds: Int = 30) {
    self.agent = agent
    self.function = function
    self.arguments = arguments
    self.seconds = seconds
  }
}

/// A process that is visited.
public struct Visit: ~Copyable {
  private let process: pid_t
  private let memory: ProcessMemory
  private let state: LoaderState

  private static let mostLooks = 200, stopMilliseconds: UInt32 = 200
  private static let lookMicroseconds: UInt32 = 1000

  /// Looks whether the process can be visited. Nothing of it is changed; throws where it cannot.
  public init(_ process: pid_t) throws(VisitError) {
    try Self.check(process)
    let memory = try ProcessMemory(process)
    state = try LoaderState(process, memory)
    self.process = process
    self.memory = memory
  }

  /// Reasons that /proc knows.
  private static func check(_ process: pid_t) throws(VisitError) {
    if process == getpid() { throw .isOurselves(process) }
    guard let status = statusValues(process) else { throw .noSuchProcess(process) }
    switch status["State"]?.utf8.first {
    case UInt8(ascii: "Z"), UInt8(ascii: "X"): throw .hasEnded(process)
    case UInt8(ascii: "T"): throw .isStopped(process)
    default: break
    }
    if status["Tgid"] != "\(process)" { throw .noSuchProcess(process) }
    if status["VmSize"] == nil { throw .isKernelThread(process) }
    if let tracer = status["TracerPid"].flatMap(pid_t.init), tracer != 0 {
      throw .isTraced(process, by: tracer, name: firstLine("/proc/\(tracer)/comm") ?? "?")
    }
    switch status["Seccomp"] {
    case nil, "0": break
    case "1": throw .isConfined(process, by: "it has forbidden itself all system calls (seccomp)")
    default: throw .isConfined(process, by: "it has a system call filter (seccomp)")
    }
    let path = "/proc/\(process)/exe"
    let file = open(path, O_RDONLY | O_CLOEXEC)
    if file < 0 { throw .refused(process, path: path, errno: errno) }
    defer { close(file) }
    var head = [UInt8](repeating: 0, count: 20)
    // ELF, 64 bits; EM_X86_64.
    guard read(file, &head, 20) == 20, head[4] == 2, head[18] == 62 else { throw .notX86(process) }
  }

  var moduleCount: Int { state.modules.count }

  /// Begins the visitor.
  public func begin(_ call: VisitCall) throws(VisitError) -> VisitInProgress {
    try checkAgent(call.agent)
    let began = now()
    let functions = try addresses()
    let places = threads(of: process).count == 1 ? BusyPlaces(state, memory) : nil
    let (stopped, looks) = try stop(places)
    let stop = now()
    let begun: Begun
    do throws(VisitError) {
      begun = try begin(stopped, call, functions)
    } catch {
      nvi_release(stopped)
      throw error
    }
    nvi_release(stopped)
    return try VisitInProgress(
      process, call, begun, began: began, stoppedNanoseconds: now() - stop, looks: looks)
  }

  /// A path means another file where the process has another root directory.
  func checkAgent(_ path: String) throws(VisitError) {
    var ours = Glibc.stat()
    var theirs = Glibc.stat()
    guard stat(path, &ours) == 0 else {
      throw .noAgent(process, because: "\(path): \(String(cString: strerror(errno)))")
    }
    guard stat("/proc/\(process)/root\(path)", &theirs) == 0, ours.st_ino == theirs.st_ino,
      ours.st_dev == theirs.st_dev
    else {
      throw .noAgent(
        process, because: "\(path) is not there in its root directory: put nopscope there")
    }
  }

  /// Where the visitor's memory is in the process.
  struct Begun {
    var block, result, table: UInt64
    /// Our end of a connection; -1: none.
    var connection: Int32
  }

  // MARK: - The stop

  private func stop(_ places: BusyPlaces?) throws(VisitError) -> (OpaquePointer, looks: Int) {
    var reason = "it has none"
    for look in 1...Self.mostLooks {
      var isBusy = false
      for one in threads(of: process) where one.canBeStopped {
        var stopped: OpaquePointer?
        let error = nvi_stop(one.thread, Self.stopMilliseconds, &stopped)
        guard error == 0, let stopped else {
          reason = String(cString: strerror(error))
          continue
        }
        guard let places,
          places.contain(
            pc: nvi_pc(stopped), stackPointer: nvi_stack_pointer(stopped), memory)
        else { return (stopped, look) }
        isBusy = true
        nvi_release(stopped)
        break
      }
      if !isBusy { throw .noThread(process, because: reason) }
      usleep(Self.lookMicroseconds)
    }
    throw .isBusy(process, looks: Self.mostLooks)
  }

  private func addresses() throws(VisitError) -> nvi_block {
    func address(_ name: String) throws(VisitError) -> UInt64 {
      guard let found = state.libc.symbol(name, memory) else {
        throw .notGlibc(process, missing: name)
      }
      return found
    }
    var block = nvi_block()
    block.pthread_create = try address("pthread_create")
    block.pthread_detach = try address("pthread_detach")
    block.dlopen = try address("dlopen")
    block.dlsym = try address("dlsym")
    block.dlerror = try address("dlerror")
    block.munmap = try address("munmap")
    return block
  }

  /// The first system call instruction of libc's function `syscall`.
  private func callInstruction() throws(VisitError) -> UInt64 {
    guard let at = state.libc.symbol("syscall", memory), let code = memory.read(at, 64),
      let index = code.indices.dropLast().first(where: { code[$0] == 0x0f && code[$0 + 1] == 0x05 })
    else { throw .notGlibc(process, missing: "syscall") }
    return at + UInt64(index)
  }

  // MARK: - The helper

  private func begin(
    _ stopped: OpaquePointer, _ call: VisitCall, _ functions: nvi_block
  ) throws(VisitError) -> Begun {
    let image = try HelperImage(
      process, state, threadPointer: nvi_thread_pointer(stopped), memory)
    let layout = image.layout
    let instruction = try callInstruction()
    func checked(
      _ name: String, _ call: (inout Int64) -> Int32
    ) throws(VisitError) -> UInt64 {
      var result: Int64 = 0
      let error = call(&result)
      if error != 0 { throw .callFailed(process, call: name, errno: error) }
      if result < 0 && result > -4096 {
        throw .callFailed(process, call: name, errno: Int32(-result))
      }
      return UInt64(bitPattern: result)
    }
    func make(
      _ name: String, _ number: Int, _ arguments: [UInt64]
    ) throws(VisitError) -> UInt64 {
      let all = arguments + [UInt64](repeating: 0, count: 6 - arguments.count)
      return try checked(name) { nvi_call(stopped, instruction, UInt64(number), all, &$0) }
    }
    let shared = UInt64(MAP_PRIVATE | MAP_ANONYMOUS)
    let bytes = UInt64(layout.bytes)
    let start = try make(
      "mmap", 9, [0, bytes, UInt64(PROT_READ | PROT_WRITE), shared, .max, 0])
    // Executable from the beginning: a process may have forbidden that memory becomes so
    // (PR_SET_MDWE).
    do throws(VisitError) {
      _ = try make(
        "mmap", 9,
        [
          start, UInt64(HelperLayout.codeBytes), UInt64(PROT_READ | PROT_EXEC),
          shared | UInt64(MAP_FIXED), .max, 0,
        ])
      var begun = Begun(
        block: start + UInt64(layout.block), result: start + UInt64(layout.result),
        table: start + UInt64(layout.table), connection: -1)
      var block = functions
      block.mapping = start
      block.mapping_bytes = bytes
      block.descriptor = -1
      if call.arguments.contains(where: { if case .connection = $0 { true } else { false } }) {
        // Their places are written to where the result will be.
        _ = try make(
          "socketpair", 53,
          [
            UInt64(AF_UNIX),
            UInt64(SOCK_SEQPACKET.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0,
            begun.result,
          ])
        let ours = memory.number(Int32.self, begun.result) ?? -1
        block.descriptor = Int64(memory.number(Int32.self, begun.result + 4) ?? -1)
        begun.connection = nvi_take_descriptor(process, ours)
        _ = try make("close", 3, [UInt64(UInt32(bitPattern: ours))])
        _ = memory.write([UInt8](repeating: 0, count: 8), begun.result)
        if begun.connection < 0 {
          _ = try make("close", 3, [UInt64(block.descriptor)])
          throw .callFailed(process, call: "pidfd_getfd", errno: -begun.connection)
        }
      }
      fill(&block, call, begun)
      guard memory.write(code, start),
        memory.write(
          image.bytes(at: start, block: block), start + UInt64(HelperLayout.codeBytes))
      else { throw .callFailed(process, call: "writing /proc/\(process)/mem", errno: errno) }
      let pointer = start + UInt64(layout.threadPointer)
      _ = try checked("clone") {
        nvi_start_helper(
          stopped, start, start + UInt64(layout.stackTop) - 64, pointer,
          pointer + self.state.threadIDInDescriptor, begun.block, &$0)
      }
      return begun
    } catch {
      _ = try? make("munmap", 11, [start, bytes])
      throw error
    }
  }

  private var code: [UInt8] {
    Array(UnsafeRawBufferPointer(start: nvi_code_start(), count: nvi_code_bytes()))
  }

  private func fill(_ block: inout nvi_block, _ call: VisitCall, _ begun: Begun) {
    let words = call.arguments.prefix(4).map { argument -> UInt64 in
      switch argument {
      case .number(let number): number
      case .connection: UInt64(bitPattern: block.descriptor)
      case .result: begun.result
      case .table: begun.table
      }
    }
    withUnsafeMutableBytes(of: &block.argument) { bytes in
      bytes.copyBytes(from: words.flatMap { withUnsafeBytes(of: $0, Array.init) })
    }
    withUnsafeMutableBytes(of: &block.function) {
      $0.copyBytes(from: call.function.utf8.prefix(63))
    }
    withUnsafeMutableBytes(of: &block.library) { $0.copyBytes(from: call.agent.utf8.prefix(511)) }
  }
}

/// Nanoseconds of CLOCK_MONOTONIC.
func now() -> UInt64 {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}
