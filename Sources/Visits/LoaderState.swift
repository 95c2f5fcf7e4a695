// SPDX-License-Identifier: Apache-2.0

import Glibc

/// What the loader of a process knows: its modules, and where the thread variables of each lie.
struct LoaderState {
  let modules: [LoadedModule]
  let loader: LoadedModule
  let libc: LoadedModule
  /// Places in private structures of glibc, as it exports them for debuggers: bytes from their
  /// beginnings.
  private let offsetInMap, numberInMap: UInt64
  let threadIDInDescriptor: UInt64
  let descriptorBytes: UInt64

  private static let mostModules = 8192

  init(_ process: pid_t, _ memory: borrowing ProcessMemory) throws(VisitError) {
    guard let base = Self.auxiliary(7, process), base != 0 else { throw .isStatic(process) }
    guard let loader = LoadedModule(header: base, loadBias: base, map: 0, memory) else {
      throw .notGlibc(process, missing: "loader whose headers can be read")
    }
    guard let debug = loader.symbol("_r_debug", memory) else {
      throw .notGlibc(process, missing: "_r_debug")
    }
    self.loader = loader
    let headers = try ModuleHeaders(process)
    var modules: [LoadedModule] = []
    var map = memory.number(UInt64.self, debug + 8) ?? 0
    while map != 0, modules.count < Self.mostModules, let link = memory.read(map, 40) {
      if let header = headers.header(ofModuleAt: link.number(UInt64.self, 16)),
        let module = LoadedModule(
          header: header, loadBias: link.number(UInt64.self, 0), map: map, memory)
      {
        modules.append(module)
      }
      map = link.number(UInt64.self, 24)
    }
    self.modules = modules
    guard let libc = modules.first(where: { $0.symbol("_thread_db_pthread_tid", memory) != nil })
    else { throw .notGlibc(process, missing: "_thread_db_pthread_tid") }
    self.libc = libc
    /// Three numbers each: its size in bits, how many, and where it is.
    func place(_ name: String) throws(VisitError) -> UInt64 {
      guard let at = libc.symbol("_thread_db_" + name, memory),
        let offset = memory.number(UInt32.self, at + 8)
      else { throw .notGlibc(process, missing: "_thread_db_" + name) }
      return UInt64(offset)
    }
    offsetInMap = try place("link_map_l_tls_offset")
    numberInMap = try place("link_map_l_tls_modid")
    threadIDInDescriptor = try place("pthread_tid")
    guard let size = libc.symbol("_thread_db_sizeof_pthread", memory),
      let bytes = memory.number(UInt32.self, size), bytes < 65536
    else { throw .notGlibc(process, missing: "_thread_db_sizeof_pthread") }
    descriptorBytes = UInt64(bytes)
  }

  /// Where the thread variables of a module lie, below the thread pointer, and its number among the
  /// modules that have any. Nil: it has none, or each thread allocates them when it needs them.
  func threadVariables(
    _ module: LoadedModule, _ memory: borrowing ProcessMemory
  ) -> (offset: UInt64?, number: UInt64)? {
    guard module.threadImage != nil,
      let number = memory.number(UInt64.self, module.map + numberInMap),
      number > 0, number < 65536, let offset = memory.number(Int64.self, module.map + offsetInMap)
    else { return nil }
    // NO_TLS_OFFSET is 0, FORCED_DYNAMIC_TLS_OFFSET is -1.
    return (offset > 0 && offset < 1 << 24 ? UInt64(offset) : nil, number)
  }

  /// A value of the auxiliary vector, proc_pid_auxv(5).
  private static func auxiliary(_ type: UInt64, _ process: pid_t) -> UInt64? {
    let file = open("/proc/\(process)/auxv", O_RDONLY | O_CLOEXEC)
    defer { if file >= 0 { close(file) } }
    var words = [UInt64](repeating: 0, count: 128)
    let got = read(file, &words, words.count * 8)
    for index in stride(from: 0, to: max(0, got) / 8 - 1, by: 2) where words[index] == type {
      return words[index + 1]
    }
    return nil
  }
}

/// Where the ELF headers of a process's modules are mapped.
private struct ModuleHeaders {
  private struct Mapping {
    let range: Range<UInt64>
    let offset: UInt64
    /// Device and inode.
    let file: String
  }

  private var mappings: [Mapping] = []

  init(_ process: pid_t) throws(VisitError) {
    let path = "/proc/\(process)/maps"
    guard let file = fopen(path, "re") else { throw .refused(process, path: path, errno: errno) }
    defer { fclose(file) }
    var line: UnsafeMutablePointer<CChar>?
    var room = 0
    defer { free(line) }
    while getline(&line, &room, file) > 0, let line {
      // start-end protection offset device inode path
      let fields = String(cString: line).split(
        separator: " ", maxSplits: 5, omittingEmptySubsequences: true)
      let ends = fields.first?.split(separator: "-") ?? []
      guard fields.count >= 5, ends.count == 2, let start = UInt64(ends[0], radix: 16),
        let end = UInt64(ends[1], radix: 16), start < end,
        let offset = UInt64(fields[2], radix: 16)
      else { continue }
      mappings.append(
        Mapping(
          range: start..<end, offset: offset,
          file: "\(fields[3]) \(fields[4].prefix { $0.isNumber })"))
    }
  }

  /// The nearest beginning of the same file before its dynamic section.
  func header(ofModuleAt dynamic: UInt64) -> UInt64? {
    guard let index = mappings.firstIndex(where: { $0.range.contains(dynamic) }) else { return nil }
    let file = mappings[index].file
    return mappings[...index].last { $0.file == file && $0.offset == 0 }?.range.lowerBound
  }
}
