// SPDX-License-Identifier: Apache-2.0

import Foundation
import FunctionNames
import TestSupport
import Testing

@testable import Filters

/// Rules and their order, with ftrace's meaning.
@Suite struct FilterTests {
  static let libz = "/usr/lib/x86_64-linux-gnu/libz.so.1.2.13"
  static let program = "/opt/bin/tool"

  private func filter(
    _ filter: [String] = [], notrace: [String] = [], graph: [String] = []
  ) throws -> SiteFilter {
    SiteFilter(
      filter: try filter.flatMap { try FilterRule.parse($0) },
      notrace: try notrace.flatMap { try FilterRule.parse($0) },
      graph: try graph.flatMap { try FilterRule.parse($0) })
  }

  @Test(
    "the last rule that matches decides",
    arguments: [
      ([], "f", program, true),
      (["f"], "f", program, true), (["f"], "g", program, false),
      (["f*", "!foo"], "foo", program, false), (["f*", "!foo"], "fob", program, true),
      (["f*", "!foo", "foo"], "foo", program, true),
      // The first rule removes: from all.
      (["!foo"], "foo", program, false), (["!foo"], "bar", program, true),
      (["!foo", "foo"], "foo", program, true),
      // One argument may hold several, as a write to set_ftrace_filter does.
      (["f g"], "g", program, true), (["f g"], "h", program, false),
      ([":mod:libz"], "f", libz, true), ([":mod:libz"], "f", program, false),
      ([":mod:libz.so.1.2.13"], "f", libz, true), ([":mod:\(libz)"], "f", libz, true),
      ([":mod:libz.so.1"], "f", libz, false), ([":mod:libz.so*"], "f", libz, true),
      ([":mod:tool"], "f", program, true), ([":mod:lib"], "f", libz, false),
      ([":mod:!libz"], "f", libz, false), ([":mod:!libz"], "f", program, true),
      ([":mod:*"], "f", libz, true), ([":mod:*"], "f", program, true),
      (["in*:mod:libz"], "inflate", libz, true), (["in*:mod:libz"], "deflate", libz, false),
      (["in*:mod:libz"], "inflate", program, false),
      (["in*:mod:!libz"], "inflate", program, true), (["in*:mod:!libz"], "inflate", libz, false),
      (["f*", "!:mod:libz"], "f", libz, false), (["f*", "!:mod:libz"], "f", program, true),
      (["*", "!in*:mod:libz"], "inflate", libz, false),
      (["*", "!in*:mod:libz"], "inflate", program, true),
      // C++: the linked name, the source's, the source's without parameters.
      (["_ZN2ns1fEi"], "_ZN2ns1fEi", program, true), (["ns::f"], "_ZN2ns1fEi", program, true),
      (["ns::f(int)"], "_ZN2ns1fEi", program, true), (["ns::*"], "_ZN2ns1fEi", program, true),
      (["ns::g"], "_ZN2ns1fEi", program, false), (["ns::f:mod:tool"], "_ZN2ns1fEi", program, true),
      (["mod::mod::f"], "_ZN3mod3mod1fEv", program, true),
      (["ns::f"], "_Znonsense", program, false),
    ] as [([String], String, String, Bool)])
  func order(rules: [String], function: String, module: String, isWanted: Bool) throws {
    let choice = try filter(rules).choice(function: function, module: ModuleSpellings(path: module))
    #expect((choice != .unwanted) == isWanted)
  }

  @Test("notrace wins over the filter and over graph functions")
  func notrace() throws {
    let filter = try filter(["f*"], notrace: ["fo*", "!foo"], graph: ["fob", "g"])
    let module = ModuleSpellings(path: Self.program)
    #expect(filter.choice(function: "fan", module: module) == .wanted)
    #expect(filter.choice(function: "fob", module: module) == .unwanted)
    #expect(filter.choice(function: "foo", module: module) == .wanted)
    #expect(filter.choice(function: "g", module: module) == .graph)
    #expect(filter.choice(function: "h", module: module) == .unwanted)
  }

  @Test(
    "a rule that says nothing is one clear line",
    arguments: [
      ("", "expected a function's name"), ("!", "expected a function's name"),
      ("  ", "expected a function's name"), (":mod:", "expected a module's name"),
      ("f:mod:", "expected a module's name"), ("f:mod:!", "expected a module's name"),
      ("f\\", "ends in '\\'"), ("f:traceoff", "found the command ':traceoff'"),
      ("f:traceon:3", "found the command ':traceon:3'"), (":f", "found the command ':f'"),
      ("f:mod:libz:traceoff", "found the command ':traceoff'"),
    ])
  func errors(rule: String, message: String) throws {
    let error = try #require(throws: FilterError.self) { try FilterRule.parse(rule) }
    #expect("\(error)".contains(message))
    #expect("\(error)".hasPrefix("filter '"))
    #expect(!"\(error)".contains("\n"))
  }

  @Test(
    "parameters are what stands in the last parentheses",
    arguments: [
      ("ns::f(int)", "ns::f"), ("ns::f(int) const", "ns::f"), ("f(void (*)(int))", "f"),
      ("A::operator()(int)", "A::operator()"), ("plain", "plain"),
      ("(anonymous namespace)::f()", "(anonymous namespace)::f"),
    ])
  func parameters(name: String, bare: String) {
    #expect(FunctionSpellings.withoutParameters(name) == bare)
  }

  @Test(
    "what a template's instance returns is no part of its name",
    arguments: [
      ("long zoo::power<long, 5>", "zoo::power<long, 5>"),
      (
        "void std::vector<A, std::allocator<A> >::push<A const&>",
        "std::vector<A, std::allocator<A> >::push<A const&>"
      ),
      ("std::enable_if<(4 > 3), int>::type f<int>", "f<int>"),
      ("(anonymous namespace)::f", "(anonymous namespace)::f"),
      ("unsigned long (anonymous namespace)::f<int>", "(anonymous namespace)::f<int>"),
      ("ns::X::operator unsigned long", "ns::X::operator unsigned long"),
      ("std::ostream& operator<< <char>", "operator<< <char>"),
      ("int my_operator<int>", "my_operator<int>"), ("main", "main"), ("", ""),
    ])
  func results(name: String, short: String) {
    #expect(FunctionSpellings.withoutResult(name) == short)
  }

  @Test("rules match a template's instance by its name, with and without its parameters")
  func templates() {
    let linked = "_ZN3zoo5powerIlLi5EEET_S1_"  // long zoo::power<long, 5>(long)
    for pattern in [
      "zoo::*", "zoo::power<long, 5>", "zoo::power<*>(long)", "long zoo::power*", "zoo::power",
    ] {
      #expect(
        FunctionSpellings(linked).matches(Glob(pattern)), "\(pattern)")
    }
    for pattern in ["power*", "zoo", "long"] {
      #expect(!FunctionSpellings(linked).matches(Glob(pattern)))
    }
  }

  private static let library = "/usr/lib/x86_64-linux-gnu/libstdc++.so.6"

  /// c++filt is binutils': its demangler has a flag for what is cut by hand here. A thunk's name, a
  /// static variable's and the like have a function's inside; they have no call sites.
  @Test(
    "of every function of libstdc++ the cut name is what c++filt prints without parameters",
    .enabled(if: FileManager.default.fileExists(atPath: library), "Debian's libstdc++"))
  func everyFunction() throws {
    let names = try Tools.run("nm", ["-D", "--defined-only", Self.library]).split(separator: "\n")
      .compactMap { line -> String? in
        let words = line.split(separator: " ")
        guard words.count == 3, ["T", "W"].contains(words[1]) else { return nil }
        return words[2].split(separator: "@").first.map(String.init)
      }
      .filter { name in
        name.hasPrefix("_Z") && !["_ZT", "_ZGV", "_ZGT", "_ZZ"].contains { name.hasPrefix($0) }
      }
    let list = try TemporaryFolder.shared.fresh("names") + "/list"
    try names.joined(separator: "\n").write(toFile: list, atomically: true, encoding: .utf8)
    let whole = try Tools.run("c++filt", ["@\(list)"]).split(separator: "\n").map(String.init)
    let expected = try Tools.run("c++filt", ["-p", "@\(list)"]).split(separator: "\n")
    try #require(whole.count == names.count && expected.count == names.count)
    var compared = 0
    // Of another version, c++filt may print the whole name differently already.
    for (index, name) in names.enumerated() where demangling(name) == whole[index] {
      compared += 1
      let bare = FunctionSpellings.withoutParameters(whole[index])
      let short = FunctionSpellings.withoutResult(bare)
      if short != expected[index] {
        Issue.record("\(name): cut to \(short), expected \(expected[index])")
      }
    }
    #expect(compared > 3000)
  }

  @Test("rules match a Rust function by its path, whole or by patterns")
  func rules() {
    let linked = "_RNvXs_C7mycrateNtB4_6SquareNtB4_5Shape4area"
    let spellings = FunctionSpellings(linked)
    for pattern in [linked, "<mycrate::Square as mycrate::Shape>::area", "*::area", "*Square as*"] {
      #expect(spellings.matches(Glob(pattern)), "\(pattern)")
    }
    // Nothing is cut off, as it is off C++ names: a type in parentheses stands within.
    let onTuple = FunctionSpellings("_RNvYTheENtC1a1T1f")
    #expect(onTuple.matches(Glob("<(u8, str) as a::T>::f")))
    #expect(!onTuple.matches(Glob("<")))
    let legacy = FunctionSpellings("_ZN3foo3bar17h05af221e174051e9E")
    #expect(legacy.matches(Glob("foo::bar")))
    #expect(!legacy.matches(Glob("bar")))
  }
}
