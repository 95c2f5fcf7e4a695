// SPDX-License-Identifier: Apache-2.0

import Glibc

/// The libraries that come and go: some builds of one source, and of each build copies that differ
/// in their number and their build-id. Two folders hold the same names.
struct SoakLibraries {
  let folder: String
  static let count = 240
  static let functionCount = 16

  /// How a build was made; its functions are traced by sites of one form.
  enum Build: String, CaseIterable {
    case clangMcount, clangFentry, clangPatchable, gccMcount, gccFentry, gccPatchable
    /// Its constructor and destructor call its functions and have a thread call them.
    case busy
    /// Its constructor loads another library, its destructor unloads it.
    case loading
    /// It needs another library, which is loaded and unloaded with it.
    case needing

    var compiler: String { rawValue.hasPrefix("clang") ? "clang" : "gcc" }

    var flags: [String] {
      switch self {
      case .clangMcount, .gccMcount: ["-pg"]
      case .clangFentry, .gccFentry: ["-pg", "-mfentry"]
      case .clangPatchable, .gccPatchable: ["-fpatchable-function-entry=5"]
      case .busy: ["-pg", "-DBUSY"]
      case .loading: ["-pg", "-DLOADING", "-Wl,-rpath,$ORIGIN"]
      case .needing: ["-pg", "-Wl,-rpath,$ORIGIN", "-Wl,--no-as-needed", "-l:needed.so"]
      }
    }
  }

  func path(_ index: Int) -> String {
    "\(folder)/\(index % 2 == 0 ? "a" : "b")/\(index / 2).so"
  }

  /// What its functions add.
  func number(_ index: Int) -> Int32 { Int32(index * 1000 + 7) }

  /// Shorter than an ELF header, and one that needs what is not there.
  var brokenPaths: [String] { ["\(folder)/cut.so", "\(folder)/orphan.so"] }

  private static let common = ["-O1", "-fPIC", "-shared", "-fno-omit-frame-pointer", "-w"]
  private static let mark: [UInt8] = Array("NOPSCOPE SOAK NUMBER".utf8)

  /// Builds them in `folder`, which is there and empty.
  static func make(in folder: String) throws(SoakDeviation) -> SoakLibraries {
    let libraries = SoakLibraries(folder: folder)
    for place in ["a", "b"] { mkdir("\(folder)/\(place)", 0o700) }
    try writeBytes(Array(Self.source.utf8), to: folder + "/soak.c")
    let needed = try libraries.compile("needed", "gcc", ["-pg"])
    for place in ["a", "b"] {
      try writeBytes(readBytes(needed), to: "\(folder)/\(place)/needed.so")
    }
    var builds: [[UInt8]] = []
    for build in Build.allCases {
      let flags = build.flags + ["-L\(folder)"]
      builds.append(readBytes(try libraries.compile(build.rawValue, build.compiler, flags)))
    }
    for index in 0..<count { try libraries.writeCopy(index, of: builds[index % builds.count]) }
    try writeBytes(Array(builds[0].prefix(50)), to: libraries.brokenPaths[0])
    try runTool(
      ["gcc"] + common + [
        "-DORPHAN", "-Wl,-z,now", folder + "/soak.c", "-o", libraries.brokenPaths[1],
      ],
      stem: folder + "/orphan")
    return libraries
  }

  private func compile(
    _ name: String, _ compiler: String, _ flags: [String]
  ) throws(SoakDeviation) -> String {
    let path = "\(folder)/\(name).so"
    let words = [compiler] + Self.common + ["-Wl,--build-id=sha1", folder + "/soak.c", "-o", path]
    try runTool(words + flags + ["-pthread", "-ldl"], stem: "\(folder)/\(name)")
    return path
  }

  private func writeCopy(_ index: Int, of build: [UInt8]) throws(SoakDeviation) {
    try writeBytes(try copy(index, of: build), to: path(index))
  }

  /// The build with this copy's number, and a build-id that no other file has.
  private func copy(_ index: Int, of build: [UInt8]) throws(SoakDeviation) -> [UInt8] {
    var bytes = build
    // The note's header: the name's length, 20 bytes, NT_GNU_BUILD_ID, "GNU".
    let note: [UInt8] = [4, 0, 0, 0, 20, 0, 0, 0, 3, 0, 0, 0, 0x47, 0x4e, 0x55, 0]
    guard let id = position(of: note, in: bytes), let at = position(of: Self.mark, in: bytes) else {
      throw SoakDeviation(description: "a library of the soak has no build-id, or no number")
    }
    bytes[id + note.count] = UInt8(truncatingIfNeeded: index)
    bytes[id + note.count + 1] = UInt8(truncatingIfNeeded: index >> 8)
    withUnsafeBytes(of: number(index)) { bytes.replaceSubrange((at + 24)..<(at + 28), with: $0) }
    return bytes
  }

  private func position(of part: [UInt8], in bytes: [UInt8]) -> Int? {
    bytes.indices.first { $0 + part.count <= bytes.count && bytes[$0...].starts(with: part) }
  }

  static let source =
    """
    #include <dlfcn.h>
    #include <pthread.h>
    #define OURS __attribute__((no_instrument_function, patchable_function_entry(0)))
    #define KEEP __attribute__((noinline, visibility("default")))
    static const volatile struct { char mark[24]; int number; } own = {"NOPSCOPE SOAK NUMBER", 0};
    #ifdef ORPHAN
    int nowhere_to_be_found(void);
    KEEP int orphan(void) { return nowhere_to_be_found(); }
    #endif

    """
    + (0..<functionCount).map {
      "KEEP int f\($0)(int a) { return (int)((unsigned)a * \($0 + 1)u + (unsigned)own.number); }\n"
    }.joined()
      + """
      #ifdef BUSY
      OURS static void *call(void *argument) { return f2(2) + f3(3) ? argument : 0; }
      OURS static void use_thread(void) {
        pthread_t thread;
        f4(4);
        if (pthread_create(&thread, 0, call, 0) == 0) pthread_join(thread, 0);
      }
      __attribute__((constructor)) OURS static void begin(void) { use_thread(); }
      __attribute__((destructor)) OURS static void end(void) { use_thread(); }
      #endif
      #ifdef LOADING
      static void *other;
      __attribute__((constructor)) OURS static void begin(void) {
        other = dlopen("needed.so", RTLD_NOW);
        int (*f)(int) = other ? (int (*)(int))dlsym(other, "f5") : 0;
        if (f == 0 || f(1) != 6) __builtin_trap();
      }
      __attribute__((destructor)) OURS static void end(void) { dlclose(other); }
      #endif

      """
}
