// SPDX-License-Identifier: Apache-2.0

import Foundation
import FunctionNames
import TestSupport
import Testing

/// Rust's two manglings. Names are RFC 2603's examples, rustc's own symbols, and what a test of a
/// grammar needs; what they mean was compared with c++filt, which shows hashes and types besides.
@Suite struct RustNamesTests {
  static let version0Names: [(String, String)] = [
    // RFC 2603: crates, methods, traits, instances, closures, names in Unicode.
    ("_RNvC7mycrate3foo", "mycrate::foo"),
    ("_RNvNtCs1234_7mycrate3foo3bar", "mycrate::foo::bar"),
    (
      "_RNvMsr_NtCs3ssYzQotkvD_3std4pathNtB5_7PathBuf3newCs15kBYyAo9fc_7mycrate",
      "<std::path::PathBuf>::new"
    ),
    ("_RNCNvCsgStHSCytQ6I_7mycrate4mains_0B3_", "mycrate::main::{closure#1}"),
    ("_RNvYNtC7mycrate3FooNtB4_5Trait3bar", "<mycrate::Foo as mycrate::Trait>::bar"),
    ("_RNvXC7mycratehNtB2_5Trait3foo", "<u8 as mycrate::Trait>::foo"),
    ("_RINvNtC3std3mem8align_ofdE", "std::mem::align_of::<f64>"),
    (
      "_RINbNbCskIICzLVDPPb_5alloc5alloc8box_freeDINbNiB4_5boxed5FnBoxuEp6OutputuEL_ECs1iopQbuBiw2_3std",
      "alloc::alloc::box_free::<dyn alloc::boxed::FnBox<(), Output = ()>>"
    ),
    (
      "_RNqCs4fqI2P2rA04_11utf8_identsu30____7hkackfecea1cbdathfdh9hlq6y",
      "utf8_idents::საჭმელად_გემრიელი_სადილი"
    ),
    ("_RNvC1au8gdel_5qa", "a::gödel"), ("_RNvC1au9bcher_kva", "a::bücher"),
    // Constants.
    ("_RMC0INtC8arrayvec8ArrayVechKj7b_E", "<arrayvec::ArrayVec<u8, 123>>"),
    ("_RINvC1a1fKln2a_E", "a::f::<-42>"), ("_RINvC1a1fKb1_Kb0_E", "a::f::<true, false>"),
    ("_RINvC1a1fKc61_Kc27_Kca_Kc7_E", "a::f::<'a', '\\'', '\\n', '\\u{7}'>"),
    ("_RINvC1a1fKo123456789abcdef01_E", "a::f::<0x123456789abcdef01>"),
    ("_RINvC1a1fKpKj0_E", "a::f::<_, 0>"),
    (
      "_RINvC1a1fKyffffffffffffffff_E",
      "a::f::<18446744073709551615>"
    ),
    // Types.
    ("_RINvC1a1fRhQShRL_Atj3_PuOzE", "a::f::<&u8, &mut [u8], &[u16; 3], *const (), *mut !>"),
    ("_RINvC1a1fTETeETiuEE", "a::f::<(), (str,), (isize, ())>"),
    (
      "_RINvC1a1fFEuFUKCmEiFK7stdcallEzE",
      "a::f::<fn(), unsafe extern \"C\" fn(u32) -> isize, extern \"stdcall\" fn() -> !>"
    ),
    ("_RINvC1a1fFG0_RL1_hRL0_tEuE", "a::f::<for<'a, 'b> fn(&'a u8, &'b u16)>"),
    ("_RINvC1a1fDNtC1b1TNtC1c4SendEL_E", "a::f::<dyn b::T + c::Send>"),
    ("_RINvC1a1fDG_INtC1b1TRL0_eEEL_E", "a::f::<dyn for<'a> b::T<&'a str>>"),
    ("_RINvC1a1fhB7_E", "a::f::<u8, u8>"),
    // Closures, shims, and the crate that has the instance.
    ("_RNCNCNgCs6DXkGYLi8lr_2cc5spawn00B5_", "cc::spawn::{closure#0}::{closure#0}"),
    ("_RNSNvC1a1f6vtable", "a::f::{shim:vtable#0}"), ("_RNZNvC1a1fs0_1x", "a::f::{Z:x#2}"),
    // What LLVM adds.
    ("_RNvC7mycrate3foo.llvm.9D1C9369", "mycrate::foo"), ("_RNvC1a1f.cold.2", "a::f.cold.2"),
  ]

  @Test("v0 names are their paths, without the crates' hashes", arguments: version0Names)
  func version0(linked: String, name: String) { #expect(demangling(linked) == name) }

  @Test(
    "legacy names are their paths, without the hash",
    arguments: [
      ("_ZN4core3fmt9Formatter3pad17h0123456789abcdefE", "core::fmt::Formatter::pad"),
      (
        "_ZN4test4main28_$u7b$$u7b$closure$u7d$$u7d$17h930b740aa94f1d3aE", "test::main::{{closure}}"
      ),
      (
        "_ZN71_$LT$Test$u20$$u2b$$u20$$u27$static$u20$as$u20$foo..Bar$LT$Test$GT$$GT$3bar17h930b740aa94f1d3aE",
        "<Test + 'static as foo::Bar<Test>>::bar"
      ),
      (
        "_ZN42_$LT$$RF$T$u20$as$u20$core..fmt..Debug$GT$3fmt17h0f8ce7ab1de5bd6fE",
        "<&T as core::fmt::Debug>::fmt"
      ),
      ("_ZN3foo17h05af221e174051e9E.llvm.123", "foo"),
      ("_ZN3foo17h05af221e174051e9E.cold", "foo.cold"),
    ] as [(String, String)])
  func legacy(linked: String, name: String) { #expect(demangling(linked) == name) }

  @Test(
    "what only looks like a legacy name is C++'s",
    arguments: [
      ("_ZN3foo17h0000000000000000E", "foo::h0000000000000000"),
      ("_ZN3foo17g05af221e174051e9E", "foo::g05af221e174051e9"),
      ("_ZN3foo17h05af221e174051e9Ev", "foo::h05af221e174051e9()"),
      ("_ZN3foo16h05af221e174051eE", "foo::h05af221e174051e"),
      ("_ZNK3foo17h05af221e174051e9E", "foo::h05af221e174051e9 const"),
    ] as [(String, String)])
  func plusPlus(linked: String, name: String) { #expect(demangling(linked) == name) }

  @Test(
    "what is no name stays as it is",
    arguments: [
      "_R", "_RN", "_RNvC1a", "_RNvC1a9toolong", "_R0NvC1a1f", "_RB_", "_RNvB_1f", "_RNvC1a1fB",
      "_RINvC1a1fB8_E", "_RINvC1a1fB9_E", "_RINvC1a1fBa_hE", "_RINvC1a1fRL0_hE", "_RNvC1a1f!",
      "_RNvC1a1f$x", "_RINvC1a1fKb2_E", "_RINvC1a1fKcd800_E", "_RINvC1a1fKc110000_E",
      "_RINvC1a1fKj_E", "_RINvC1a1fKjg_E", "_RNvC1au3a_!", "_RNvC1au6999999", "_RNvC1au2a_",
      "_RNvC1a01f",
      "_RNvC1a99999999999999999999f", "_RNvCsZZZZZZZZZZZZZZ_1a1f", "_RINvC1a1fDE", "_Rust",
      "_R\u{e9}",
    ])
  func invalid(linked: String) { #expect(demangling(linked) == nil) }

  private static func base62(_ number: Int) -> String {
    let digits = Array("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    if number == 0 { return "_" }
    var (rest, text) = (number - 1, "_")
    repeat {
      text = String(digits[rest % 62]) + text
      rest /= 62
    } while rest > 0
    return text
  }

  /// `T` of two, whose parts each repeat the one before: `levels` of them are 2^levels bytes.
  private static func bomb(_ levels: Int, tuple: (String) -> String) -> String {
    var name = "INvC1a1f"
    var place = name.utf8.count
    name += "ThhE"
    for _ in 0..<levels {
      let next = name.utf8.count
      name += tuple("B" + base62(place))
      place = next
    }
    return "_R" + name + "E"
  }

  @Test("a name that would print as gigabytes is none, and takes no time")
  func bombs() {
    #expect(demangling(Self.bomb(3) { "T\($0)\($0)E" }) != nil)
    #expect(demangling(Self.bomb(60) { "T\($0)\($0)E" }) == nil)
    #expect(demangling(Self.bomb(60) { "F\($0)\($0)Eu" }) == nil)
    // Deep, without and with back references.
    #expect(demangling("_RINvC1a1f" + String(repeating: "S", count: 400) + "hE") != nil)
    #expect(demangling("_RINvC1a1f" + String(repeating: "S", count: 600) + "hE") == nil)
    #expect(demangling("_RINvC1a1f" + String(repeating: "S", count: 1 << 20) + "hE") == nil)
    #expect(demangling("_R" + String(repeating: "Nv", count: 1 << 20) + "C1a") == nil)
    // A binder of billions.
    #expect(demangling("_RINvC1a1fFGzzzzzz_EuE") == nil)
  }

  /// Arguments that each refer to the one before, and `more` that refer to the last of these.
  private static func chain(_ more: Int) -> String {
    var name = "INvC1a1fh"
    var place = name.utf8.count - 1
    for _ in 0..<300 {
      let next = name.utf8.count
      name += "B" + base62(place)
      place = next
    }
    return "_R" + name + String(repeating: "B" + base62(place), count: more) + "E"
  }

  @Test("a name that is short to print and long to read is none")
  func chains() {
    let short = demangling(Self.chain(50)) ?? ""
    #expect(short.hasPrefix("a::f::<u8, u8, "))
    #expect(short.split(separator: ",").count == 351)
    #expect(demangling(Self.chain(400)) == nil)
  }

  /// A folder with rustc's own library, whose symbols are v0 names of all kinds.
  private static func driver() -> String? {
    guard Tools.find("rustc") != nil, Tools.find("c++filt") != nil,
      let root = try? Tools.run("rustc", ["--print", "sysroot"]).split(separator: "\n").first,
      let files = try? FileManager.default.contentsOfDirectory(atPath: "\(root)/lib")
    else { return nil }
    return files.first { $0.hasPrefix("librustc_driver") }.map { "\(root)/lib/\($0)" }
  }

  /// c++filt adds the hashes of crates and the types of constants.
  @Test(
    "rustc's own names are what c++filt prints, without hashes and types",
    .enabled(if: driver() != nil, "rustc's library and c++filt"))
  func everyName() throws {
    let list = try TemporaryFolder.shared.fresh("names") + "/list"
    let names = try Tools.run("nm", ["-D", "--defined-only", try #require(Self.driver())])
      .split(separator: "\n").compactMap { $0.split(separator: " ").last.map(String.init) }
      .filter { $0.hasPrefix("_R") }
    try names.joined(separator: "\n").write(toFile: list, atomically: true, encoding: .utf8)
    let shown = try Tools.run("c++filt", ["@\(list)"]).split(separator: "\n")
    try #require(shown.count == names.count)
    let hash = try NSRegularExpression(pattern: #"(?<=[\w}>])\[[0-9a-f]{1,16}\]"#)
    let type = try NSRegularExpression(
      pattern: #"(?<=[0-9'ea]): (?:[iu](?:8|16|32|64|128|size)|bool|char)(?=[>,\]])"#)
    var wrong: [String] = []
    for (name, shown) in zip(names, shown) where name != shown {
      var expected = String(shown)
      for pattern in [hash, type] {
        expected = pattern.stringByReplacingMatches(
          in: expected, range: NSRange(expected.startIndex..., in: expected), withTemplate: "")
      }
      if demangling(name) != expected { wrong.append("\(name): \(expected)") }
    }
    print("compared \(names.count) names of rustc")
    #expect(wrong.prefix(10) == [])
  }
}
