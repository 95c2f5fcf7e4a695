// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// What a waiting user sees: files are slow here.
@Suite(.enabled(if: Tools.hasScript, "script (util-linux) is not here"))
struct ProgressTests {
  /// Preloaded: opening a file whose path holds `slow`, or a process's list of mappings, takes more than a
  /// second, and so do the first two reads of a file of events.
  private static let slowFiles = Fixture(
    .gcc, ["-O1", "-fPIC"],
    source: """
      #define _GNU_SOURCE
      #include <dlfcn.h>
      #include <fcntl.h>
      #include <stdarg.h>
      #include <string.h>
      #include <unistd.h>
      static int opened = -1;
      static int reads;
      static int opening(const char *name, int folder, const char *path, int flags, int mode) {
        int (*real)(int, const char *, int, ...) = dlsym(RTLD_NEXT, "openat");
        (void)name;
        if (strstr(path, "slow") != 0 || strstr(path, "/maps") != 0) usleep(1200000);
        int file = real(folder, path, flags, mode);
        if (strstr(path, ".events") != 0) opened = file;
        return file;
      }
      #define OPEN(NAME) \\
        int NAME(const char *path, int flags, ...) { \\
          va_list rest; va_start(rest, flags); int mode = va_arg(rest, int); va_end(rest); \\
          return opening(#NAME, AT_FDCWD, path, flags, mode); \\
        }
      OPEN(open)
      OPEN(open64)
      #define READ(NAME) \\
        ssize_t NAME(int file, void *bytes, size_t count, off_t at) { \\
          ssize_t (*real)(int, void *, size_t, off_t) = dlsym(RTLD_NEXT, #NAME); \\
          if (file == opened && at >= 4096 && count > 600 && ++reads <= 4) usleep(600000); \\
          return real(file, bytes, count, at); \\
        }
      READ(pread)
      READ(pread64)
      """)

  private func shown(_ command: String) throws -> String {
    let result = try runNopscopeOnTerminal(
      command, environment: ["LD_PRELOAD": Self.slowFiles.build(), "PAGER": "cat"])
    return result.output
  }

  private func recording(_ name: String = "quick") throws -> String {
    let path = try TemporaryFolder.shared.fresh("progress") + "/" + name
    let chunks = (0..<8).map { index in
      let base = 1_000_000 + 10_000 * UInt64(index)
      return SyntheticChunk(sequence: UInt32(index), baseTime: base) { encoder in
        for call in 0..<400 as Range<UInt64> {
          encoder.call(0, from: base + 20 * call, to: base + 20 * call + 10)
        }
      }
    }
    let process = SyntheticProcess(
      modules: [SyntheticModule("/bin/x", functions: ["main"])], chunks: chunks)
    try SyntheticRecording(processes: [process]).write(to: path)
    return path
  }

  static let readings = [
    "report DIR", "report --by module DIR", "report DIR main", "report --uncalled DIR", "graph DIR",
    "slow main DIR", "info DIR", "diff DIR DIR", "report --diff DIR DIR", "replay DIR > /dev/null",
    "export --format perfetto -o OUT DIR", "export --format chrome -o OUT DIR",
    "export --format flamegraph -o OUT DIR", "export --format folded -o OUT DIR",
    "export --format speedscope -o OUT DIR", "export --format uftrace -o OUT DIR",
  ]

  @Test("a command that reads a recording says how far it is", arguments: readings)
  func fraction(command: String) throws {
    let path = try recording()
    let out = try TemporaryFolder.shared.fresh("out") + "/file"
    let text = try shown(command.replacing("DIR", with: path).replacing("OUT", with: out))
    let expected = try Regex("(reading|exporting|replaying) \(path): [0-9]+ (%|s)\u{1b}")
    #expect(text.contains(expected), "\(text)")
    #expect(text.contains("\r\u{1b}[K"))
  }

  @Test("what cannot say how far it is says for how long it has been at it")
  func seconds() throws {
    let folder = try TemporaryFolder.shared.fresh("slow")
    let library = folder + "/slow.so"
    try ProgramFile.copy(Fixture(.gcc, ["-O1", "-pg"]).build(), to: library)
    let program = folder + "/slow"
    try ProgramFile.copy(
      Fixture(.gcc, ["-O1", "-pg"], as: .positionIndependentExecutable).build(), to: program)
    for (command, what) in [
      ("sites \(library)", "searching \(library)"),
      ("recordmcount -o \(folder)/out \(library)", "searching \(library)"),
      ("doctor \(program)", "searching \(program)"),
      ("info \(try recording("slow"))", "opening "), ("audit \(getpid())", "auditing \(getpid())"),
    ] {
      let text = try shown(command)
      #expect(text.contains(what) && text.contains(": 1 s\u{1b}[K"), "\(command): \(text)")
    }
  }
}
