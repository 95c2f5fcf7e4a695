// SPDX-License-Identifier: Apache-2.0

import FunctionNames
import Testing

/// Short names of functions in C++, Rust and Swift.
@Suite struct ShortNameTests {
  @Test(
    "C++: without what a function takes and returns, without template arguments",
    arguments: [
      ("process(int, char*)", "process"),
      ("Pool::run(std::string const&) const", "Pool::run"),
      (
        "void std::vector<int, std::allocator<int> >::_M_realloc_insert<int const&>(int const&)",
        "std::vector::_M_realloc_insert"
      ),
      ("main::{lambda(int, char)#1}::operator()(int, char) const", "main::{lambda#1}"),
      (
        "f(int)::{lambda()#2}::operator()() const::{lambda(long)#1}::operator()(long) const",
        "f::{lambda#2}::{lambda#1}"
      ),
      ("auto f()::{lambda(auto:1)#1}::operator()<int>(int) const", "f::{lambda#1}"),
      ("(anonymous namespace)::f(int)", "(anonymous namespace)::f"),
      ("int (anonymous namespace)::f<int>(int)", "(anonymous namespace)::f"),
      ("X::operator()(int) const", "X::operator()"),
      ("X::operator[](int) &&", "X::operator[]"),
      ("X::operator<(X const&) const", "X::operator<"),
      ("X::operator<=>(X const&) const", "X::operator<=>"),
      (
        "std::basic_ostream<char, std::char_traits<char> >& std::operator<< <char>(int)",
        "std::operator<<"
      ),
      ("bool operator< <int>(A<int> const&)", "operator<"),
      ("X::operator->() const", "X::operator->"),
      ("X::operator unsigned long() const", "X::operator unsigned long"),
      ("X<int>::operator std::vector<int, long>()", "X::operator std::vector"),
      ("operator new(unsigned long)", "operator new"),
      ("operator new[](unsigned long)", "operator new[]"),
      ("operator\"\" _km(unsigned long long)", "operator\"\" _km"),
      ("name[abi:cxx11]()", "name"),
      ("T f[abi:v1]<T>(T)", "f"),
      ("work(int) [clone .part.0]", "work.part.0"),
      ("work(int) [clone .isra.0] [clone .cold]", "work.isra.0.cold"),
      ("non-virtual thunk to B<int>::f(int)", "non-virtual thunk to B::f"),
      ("A::A(A::B (*)(int))", "A::A"),
      ("A::~A()", "A::~A"),
      ("void f<(E)1>()", "f"),
      ("void f<&(g(int))>()", "f"),
      ("decltype (a->b) f<A>(A)", "f"),
      ("void f<(1>2)>(int)", "f"),
      ("operators(int)", "operators"),
      ("my_operator(int)", "my_operator"),
      ("A::{unnamed type#1}::f()", "A::{unnamed type#1}::f"),
    ])
  func cxx(full: String, short: String) { #expect(shortened(full, .cxx) == short) }

  @Test(
    "Rust: paths without generic arguments",
    arguments: [
      ("mycrate::foo::<u8>", "mycrate::foo"),
      ("<alloc::vec::Vec<u8>>::push", "alloc::vec::Vec::push"),
      (
        "<alloc::vec::Vec<u8> as core::ops::Drop>::drop",
        "<alloc::vec::Vec as core::ops::Drop>::drop"
      ),
      ("mycrate::main::{closure#0}", "mycrate::main::{closure#0}"),
      ("<fn(u8) -> u8 as a::T>::f::<(u8, str)>", "<fn(u8) -> u8 as a::T>::f"),
    ])
  func rust(full: String, short: String) { #expect(shortened(full, .rust) == short) }

  @Test(
    "Swift: labels without types; names that are sentences stay whole",
    arguments: [
      ("main.f() -> ()", "main.f()"),
      ("main.S.f<A>(x: Swift.Array<A>, Swift.Int) -> (Swift.Int) -> ()", "main.S.f(x:_:)"),
      ("main.f(_: Swift.Int, b: (Swift.Int, Swift.Int)) throws -> ()", "main.f(_:b:)"),
      ("closure #1 () -> () in main.f() -> ()", "closure #1 () -> () in main.f() -> ()"),
    ])
  func swift(full: String, short: String) { #expect(shortened(full, .swift) == short) }

  @Test("each style names a function")
  func styles() {
    let linked = "_ZN4PoolIiE3runERKSs"
    #expect(NameStyle.linked.name(linked) == linked)
    #expect(NameStyle.full.name(linked) == "Pool<int>::run(std::string const&)")
    #expect(NameStyle.short.name(linked) == "Pool::run")
    for style in NameStyle.allCases { #expect(style.name("main") == "main") }
    #expect(NameStyle.short.name("_Rest") == "_Rest")
  }

  @Test("Rust's names are read in both of their manglings")
  func rustNames() {
    #expect(demangled("_RINvC7mycrate3foohE") == "mycrate::foo::<u8>")
    #expect(demangled("_ZN7mycrate3foo17h05af221e174051e9E") == "mycrate::foo")
    #expect(demangled("_Rest") == "_Rest")
  }

  @Test("a name made to print as gigabytes stays as it is")
  func hostileNames() {
    // Each pair<S, S> refers twice to the one before.
    var name = "_Z1fSt4pairIiiE"
    for index in 0..<60 {
      let last = index == 0 ? "S0_" : "S\(String(index, radix: 36).uppercased())_"
      name += "St4pairI\(last)\(last)E"
    }
    #expect(demangled(name).count < 20_000)
    #expect(demangled("$s" + String(repeating: "Si_AAt", count: 60)).count < 20_000)
  }

  @Test("whatever is cut short, nothing is read behind its end")
  func pieces() {
    let names = [
      "std::basic_ostream<char>& std::operator<< <char>(int) const [clone .part.0]",
      "f(int)::{lambda()#2}::operator()() const", "<alloc::Vec<u8> as Drop>::drop",
      "main.S.f<A>(x: Swift.Array<A>, Swift.Int) -> ()", "virtual thunk to A::f[abi:cxx11]()",
      "<<<<((({{{[[[", ">>>)))}}}]]]", "operator", "[clone ", " [clone ]", "[abi:", "-> - >",
    ]
    for name in names {
      for count in 0...name.utf8.count {
        for piece in [
          String(decoding: name.utf8.prefix(count), as: UTF8.self),
          String(decoding: name.utf8.dropFirst(count), as: UTF8.self),
        ] {
          for mangling in [Mangling.cxx, .rust, .swift] {
            let short = shortened(piece, mangling)
            #expect(short.isEmpty == piece.isEmpty)
          }
        }
      }
    }
  }
}
