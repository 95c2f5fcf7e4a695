// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing
import UnloadLab

/// A specimen's file, read by binutils, which is independent of our own readers.
struct BuiltModule {
  let path: String

  init(_ specimen: SpecimenLocation.Specimen) throws {
    path = try SpecimenLocation.path(of: specimen)
  }

  /// Link-time addresses of the five-byte `call mcount@plt`.
  func callSites() throws -> [Int] {
    try lines("objdump", "-d").compactMap { line in
      let fields = line.split(separator: "\t")
      guard fields.count == 3, fields[2].hasPrefix("call"), fields[2].hasSuffix("<mcount@plt>"),
        fields[1].hasPrefix("e8 "), fields[1].split(separator: " ").count == 5
      else { return nil }
      return Int(fields[0].trimmingCharacters(in: [" ", ":"]), radix: 16)
    }
  }

  /// How many calls of mcount there are, of all forms.
  func callCount() throws -> Int {
    try lines("objdump", "-d").count { $0.contains("call") && $0.contains("<mcount") }
  }

  /// Link-time addresses of exported symbols, by name.
  func exports() throws -> [String: Int] {
    var exports: [String: Int] = [:]
    for line in try lines("nm", "-D", "--defined-only") {
      let fields = line.split(separator: " ")
      guard fields.count == 3, let address = Int(fields[0], radix: 16) else { continue }
      exports[String(fields[2].prefix { $0 != "@" })] = address
    }
    return exports
  }

  func needed() throws -> [String] {
    try lines("readelf", "-dW").filter { $0.contains("(NEEDED)") }.compactMap { line in
      line.split(separator: "[").last.map { String($0.dropLast()) }
    }
  }

  func buildID() throws -> String? {
    try lines("readelf", "-nW").first { $0.contains("Build ID:") }
      .flatMap { $0.split(separator: " ").last.map(String.init) }
  }

  /// Pages from the first PT_LOAD's start to the last one's end.
  func span() throws -> Int {
    let segments = try lines("readelf", "-lW").filter { $0.hasPrefix("  LOAD") }.map { line in
      line.split(separator: " ").compactMap { Int($0.dropFirst(2), radix: 16) }
    }
    // Offset, VirtAddr, PhysAddr, FileSiz, MemSiz, ...
    let end = try #require(segments.map { $0[1] + $0[4] }.max())
    let start = try #require(segments.map { $0[1] }.min())
    return (end + 4095) / 4096 - start / 4096
  }

  private func lines(_ tool: String, _ options: String...) throws -> [String] {
    let process = Process()
    let output = Pipe()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["LC_ALL=C", tool] + options + [path]
    process.standardOutput = output
    try process.run()
    let text = output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    try #require(process.terminationStatus == 0, "\(tool): is binutils installed?")
    return String(decoding: text, as: UTF8.self).split(separator: "\n").map(String.init)
  }
}

/// A module that is loaded as long as this value lives.
struct LoadedModule: ~Copyable {
  let handle: UnsafeMutableRawPointer

  init(_ path: String) throws {
    guard let handle = dlopen(path, RTLD_NOW | RTLD_LOCAL) else {
      throw LoadError(message: String(cString: dlerror()))
    }
    self.handle = handle
  }

  struct LoadError: Error { var message: String }

  deinit { dlclose(handle) }

  /// The load bias.
  ///
  /// In glibc a handle is a `struct link_map *`, whose first field is l_addr.
  var base: UInt { handle.load(as: UInt.self) }

  func function<Function>(_ name: String, as type: Function.Type = Function.self) throws -> Function
  {
    unsafeBitCast(try #require(dlsym(handle, name), "\(name) is not exported"), to: type)
  }

  func bytes(at offset: Int, count: Int) -> [UInt8] {
    let start = UnsafeRawPointer(bitPattern: base + UInt(offset))
    return [UInt8](UnsafeRawBufferPointer(start: start, count: count))
  }
}
