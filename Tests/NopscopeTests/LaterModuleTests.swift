// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// Rules for a module that is not loaded when the program starts: they wait for it, each time it
/// comes.
@Suite struct LaterModuleTests {
  private static let plugin = """
    __attribute__((noinline)) int plugin_work(int i) { __asm__ volatile(""); return i + 1; }
    __attribute__((noinline)) int plugin_other(int i) { __asm__ volatile(""); return i - 1; }
    int plugin_run(int count) {
      int k = 0;
      for (int i = 0; i < count; i++) k = plugin_work(plugin_other(plugin_work(k)));
      return k;
    }
    """
  /// Loads, calls and unloads the library of argument 1 so many times as argument 2 says, then that
  /// of argument 3 once, which stays.
  private static let program = """
    #include <dlfcn.h>
    #include <stdio.h>
    #include <stdlib.h>
    __attribute__((noinline)) void local(void) { __asm__ volatile(""); }
    static int run(const char *path, int closes) {
      void *library = dlopen(path, RTLD_NOW);
      if (!library) { puts(dlerror()); exit(9); }
      int (*work)(int) = dlsym(library, "plugin_run");
      int k = work(10);
      if (closes) dlclose(library);
      return k;
    }
    int main(int c, char **v) {
      int k = 0;
      for (int i = 0; i < atoi(v[2]); i++) { local(); k += run(v[1], 1); }
      k += run(v[3], 0);
      printf("%d\\n", k);
      return 0;
    }
    """

  struct Case: Sendable, CustomStringConvertible {
    var options: [String]
    /// By module's file and function, over all generations.
    var calls: [String: Int]
    var description: String { options.joined(separator: " ") }
  }

  @Test("what comes later is treated as the rules say, every time it comes", arguments: cases)
  func later(one: Case) throws {
    let folder = try TemporaryFolder.shared.fresh("later")
    let library = try Fixture(.gcc, ["-O1", "-pg"], source: Self.plugin).build()
    for name in ["plugin.so", "other.so.2"] {
      try ProgramFile.copy(library, to: "\(folder)/\(name)")
    }
    let program = try Fixture(
      .gcc, ["-O1", "-pg"], link: ["-ldl"], as: .positionIndependentExecutable,
      source: Self.program
    ).build()
    let data = folder + "/data"
    let result = try runNopscope(
      ["record", "-o", data, "--tracer", "hits"] + one.options
        + ["--", program, folder + "/plugin.so", "3", folder + "/other.so.2"],
      environment: ["XDG_CACHE_HOME": folder])
    #expect(result.ending == .exit(0))
    #expect(result.output == "40\n")
    let document = try jsonObject(try runNopscope(["report", "--json", data]).standardOutput)
    let functions = try #require(document["functions"] as? [[String: Any]])
    var calls: [String: Int] = [:]
    for function in functions {
      let path = function["module"] as? String ?? ""
      let file = path == program ? "program" : String(path.split(separator: "/").last ?? "")
      let name = "\(file) \(function["function"] as? String ?? "?")"
      calls[name, default: 0] += function["calls"] as? Int ?? 0
    }
    #expect(calls == one.calls)
  }

  static let cases = [
    Case(
      options: ["--filter", ":mod:plugin"],
      calls: ["plugin.so plugin_run": 3, "plugin.so plugin_work": 60, "plugin.so plugin_other": 30]
    ),
    Case(
      options: ["--filter", "plugin_*:mod:plugin", "--filter", "!plugin_other"],
      calls: ["plugin.so plugin_run": 3, "plugin.so plugin_work": 60]),
    Case(
      options: ["--filter", "plugin_work:mod:other"], calls: ["other.so.2 plugin_work": 20]),
    Case(
      options: ["--notrace", ":mod:plugin", "--notrace", "main", "--notrace", "plugin_o*"],
      calls: [
        "program local": 3, "program run": 4, "other.so.2 plugin_run": 1,
        "other.so.2 plugin_work": 20,
      ]),
    Case(
      options: ["--filter", "!:mod:plugin", "--filter", "!:mod:a.out"],
      calls: [
        "other.so.2 plugin_run": 1, "other.so.2 plugin_work": 20, "other.so.2 plugin_other": 10,
      ]),
    Case(
      options: ["--filter", ":mod:!plugin", "--filter", "!plugin_run", "--notrace", ":mod:a.out"],
      calls: ["other.so.2 plugin_work": 20, "other.so.2 plugin_other": 10]),
  ]
}
