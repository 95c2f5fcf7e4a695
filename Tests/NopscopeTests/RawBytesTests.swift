// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// Paths, arguments and variables that are no UTF-8.
@Suite struct RawBytesTests {
  private static let source = """
    #include <dlfcn.h>
    #include <stdio.h>
    #include <stdlib.h>
    __attribute__((noinline)) void show(const char *text) {
      for (; *text; text++) printf("%02x ", (unsigned char)*text);
    }
    int main(int count, char **words) {
      for (int i = 1; i < count; i++) show(words[i]);
      show(getenv("RAW"));
      if (count > 2) {
        void *library = dlopen(words[2], RTLD_NOW);
        if (library == NULL) return 9;
        ((int (*)(int))dlsym(library, "plugged"))(1);
      }
      puts("");
      return 3;
    }
    """

  @Test("a program gets its bytes, is recorded wherever it is, and its recording is read")
  func everywhere() throws {
    let folder = try TemporaryFolder.shared.fresh("raw")
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    let built = try Fixture(
      .gcc, ["-O1", "-pg", "-ldl"], as: .positionIndependentExecutable, source: Self.source
    ).build()
    let library = try Fixture(
      .gcc, ["-O1", "-pg"], as: .sharedObject,
      source: "__attribute__((noinline)) int plugged(int x) { return x + 1; }"
    ).build()
    // The shell makes the names: Foundation's are text.
    let script = """
      set -e
      cd '\(folder)'
      d=$(printf 'd\\377x'); a=$(printf 'x\\377\\303\\244\\342\\202'); export RAW=$(printf 'a\\376')
      mkdir "$d"; cp '\(built)' "$d/p"; cp '\(library)' "$d/l.so"
      n='\(Tools.nopscope)'
      "$d/p" "$a" "./$d/l.so" || true
      status=0; "$n" record -q -o "o$d" "$d/p" "$a" "./$d/l.so" || status=$?
      echo "status $status"
      "$n" record -q -o "o$d" "$d/p" "$a" || true
      test -d "o$d.old"
      "$n" report --csv --columns calls,function,module "o$d.old"
      "$n" info "o$d.old" | grep -a command
      "$n" sites "$d/l.so" 2>/dev/null | tail -n 1
      """
    let result = try runChild("/bin/sh", ["-c", script])
    #expect(result.standardError == "", "\(result.standardError)")
    let lines = result.output.split(separator: "\n").map(String.init)
    let printed = "78 ff c3 a4 e2 82 "
    try #require(lines.count > 8, "\(result.output)")
    #expect(lines[0].hasPrefix(printed) && lines[0].hasSuffix("61 fe "))
    #expect(lines[1] == lines[0])
    #expect(lines[2] == "status 3")
    #expect(lines[3].hasPrefix(printed))
    #expect(lines.contains { $0.hasPrefix("1,plugged,") && $0.hasSuffix("/l.so") })
    #expect(lines.contains { $0.hasPrefix("1,main,") })
    #expect(lines.contains { $0.contains("d\\xffx/p x\\xff\u{e4}\\xe2\\x82") })
    #expect(lines.last?.contains("1 site") == true || lines.last?.contains("plugged") == true)
  }
}
