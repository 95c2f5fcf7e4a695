// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing
import Units

/// A shared object that a test builds with gcc, loads, and writes to.
///
/// Its one function is 3 MiB of `cc` bytes, so that the audit compares its text in several pieces.
final class AuditedLibrary {
  let folder: String
  let path: String
  private(set) var handle: UnsafeMutableRawPointer?
  /// The address of the large function in this process.
  let function: CodeAddress
  /// The function's link-time address, by nm.
  let linkAddress: ModuleOffset

  static let textBytes = 3 << 20

  static let source = """
    __asm__(".text; .globl audited; .type audited, @function; audited: .skip \(textBytes), 0xcc;"
            ".size audited, \(textBytes)");
    """

  init(source: String = AuditedLibrary.source, options: [String] = []) throws {
    folder = NSTemporaryDirectory() + "nopscope-audit-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    path = folder + "/audited.so"
    try Self.build(source, options, at: path)
    handle = dlopen(path, RTLD_NOW)
    let loaded = try #require(handle, "\(String(cString: dlerror()))")
    let symbol = try #require(dlsym(loaded, "audited"))
    function = CodeAddress(symbol)
    linkAddress = try Self.linkAddress(in: path)
  }

  deinit {
    unload()
    try? FileManager.default.removeItem(atPath: folder)
  }

  func unload() {
    if let handle { dlclose(handle) }
    handle = nil
  }

  static func build(_ source: String, _ options: [String], at path: String) throws {
    try source.write(toFile: path + ".c", atomically: false, encoding: .utf8)
    try run(["gcc", "-shared", "-fPIC", "-O1", "-o", path, path + ".c"] + options)
  }

  private static func linkAddress(in path: String) throws -> ModuleOffset {
    let symbols = try run(["nm", "-D", path]).split(separator: "\n")
    let line = try #require(symbols.first { $0.hasSuffix(" audited") })
    return ModuleOffset(try #require(UInt64(line.prefix { $0 != " " }, radix: 16)))
  }

  @discardableResult
  private static func run(_ command: [String]) throws -> String {
    let tool = Process()
    let output = Pipe()
    tool.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    tool.arguments = command
    tool.standardOutput = output
    try tool.run()
    let text = output.fileHandleForReading.readDataToEndOfFile()
    tool.waitUntilExit()
    try #require(tool.terminationStatus == 0, "\(command[0]) failed")
    return String(decoding: text, as: UTF8.self)
  }

  /// Writes to the text at `offset` from the function, as a patcher would. Afterwards the pages
  /// have `protection`.
  func write(
    _ bytes: [UInt8], at offset: Int, leaving protection: Int32 = PROT_READ | PROT_EXEC
  ) throws {
    let start = function + UInt64(offset)
    let pages = start.rounded(downTo: 4096)
    let length = Int((start + UInt64(bytes.count)) - pages)
    try #require(mprotect(pages.pointer, length, PROT_READ | PROT_WRITE) == 0)
    let target = try #require(start.pointer)
    target.copyMemory(from: bytes, byteCount: bytes.count)
    try #require(mprotect(pages.pointer, length, protection) == 0)
  }
}

/// A child process that runs `sleep` until it is killed. `end` kills it and waits for it.
final class SleepingChild {
  private(set) var identifier: pid_t = 0

  init() throws {
    identifier = try spawn(["sleep", "600"])
    // Before the exec its maps are those of this process; before libc is mapped, incomplete.
    for _ in 0..<30_000 {
      let maps = try? String(contentsOfFile: "/proc/\(identifier)/maps", encoding: .utf8)
      if let maps, maps.contains("/sleep\n"), maps.contains("libc.so") { return }
      usleep(2000)
    }
    throw CocoaError(.executableLoad)
  }

  func end() {
    guard identifier > 0 else { return }
    // Not SIGTERM: the runner's threads block it, and a child inherits the mask.
    kill(identifier, SIGKILL)
    waitpid(identifier, nil, 0)
    identifier = 0
  }

  deinit { end() }
}

/// Starts a command that is found in PATH.
func spawn(_ command: [String]) throws -> pid_t {
  var process = pid_t()
  let arguments = command.map { strdup($0) } + [nil]
  defer { for argument in arguments { free(argument) } }
  try #require(posix_spawnp(&process, command[0], nil, nil, arguments, environ) == 0)
  return process
}
