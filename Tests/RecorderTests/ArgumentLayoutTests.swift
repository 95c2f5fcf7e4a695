// SPDX-License-Identifier: Apache-2.0

import CRecordingABI
import RecordingSchema
import TestSupport
import Testing

@testable import Recorder

/// Where the System V ABI has arguments, and what is refused.
@Suite struct ArgumentLayoutTests {
  struct Row: Sendable, CustomStringConvertible {
    /// As signatures.c writes it: the result, then the parameters.
    var types: String
    /// Each parameter's type as it is shown, with its place; then the result's.
    var places: String
    var hasStack = true
    var isAfterPrologue = false
    var description: String { types }
  }

  private static let sources = ["rdi", "rsi", "rdx", "rcx", "r8", "r9", "rax"]

  private func signature(_ types: String) throws -> PassedSignature {
    let words = types.split(separator: " ")
    let parameters = try words.dropFirst().map { ("", try passed($0)) }
    return PassedSignature(
      parameters: parameters, result: words[0] == "-" ? nil : try passed(words[0]))
  }

  private func passed(_ word: Substring) throws -> PassedType {
    let type: PassedType? = PassedType(word)
    return try #require(type)
  }

  private func text(_ layout: ArgumentLayout) -> String {
    var fetches = layout.fetches[...]
    let types =
      layout.signature.parameters.map(\.type) + [layout.signature.result].compactMap { $0 }
    return types.map { type in
      guard type.isRecorded, let fetch = fetches.popFirst() else {
        return type == .structure ? "{" : "?"
      }
      switch Int(fetch.source) {
      case NREC_SOURCE_STACK: return "stack+\(fetch.offset)"
      case NREC_SOURCE_XMM0...: return "xmm\(Int(fetch.source) - NREC_SOURCE_XMM0)"
      default: return Self.sources[Int(fetch.source)]
      }
    }.joined(separator: " ")
  }

  static let rows = [
    Row(types: "- i4 u8 p s c b i4 i2", places: "rdi rsi rdx rcx r8 r9 stack+0 stack+8"),
    Row(types: "i4 i4", places: "rdi rax"), Row(types: "f8 f4 i4 f8", places: "xmm0 rdi xmm1 xmm0"),
    Row(
      types: "- f8 f8 f8 f8 f8 f8 f8 f8 f8 i4",
      places: "xmm0 xmm1 xmm2 xmm3 xmm4 xmm5 xmm6 xmm7 stack+0 rdi"),
    // A hidden pointer comes first; a structure in registers is returned there.
    Row(types: "{M24 i4", places: "rsi {"), Row(types: "{P i4", places: "rsi {"),
    Row(types: "v1 i4", places: "rsi rax"), Row(types: "{II i4", places: "rdi {"),
    Row(types: "S1 S2", places: "rdi rax"), Row(types: "- v2 i4", places: "rdi rsi"),
    // A structure is in registers as a whole, or not at all; those behind it take what is left.
    Row(types: "- {II i4", places: "{ rdx"), Row(types: "- {IS i4 f8", places: "{ rsi xmm1"),
    Row(types: "- {SS f8", places: "{ xmm2"), Row(types: "- {N i4", places: "{ rdi"),
    Row(
      types: "- i4 i4 i4 i4 i4 {II i4 i4",
      places: "rdi rsi rdx rcx r8 { r9 stack+16"),
    Row(types: "- {M24 i4 i4 i4 i4 i4 i4 i4", places: "{ rdi rsi rdx rcx r8 r9 stack+24"),
    // A long double is aligned to 16; it is not returned through memory.
    Row(
      types: "- i4 i4 i4 i4 i4 i4 i4 L i4", places: "rdi rsi rdx rcx r8 r9 stack+0 ? stack+32"),
    Row(types: "L i4", places: "rdi ?"),
    // Nothing is known behind what has no place, nor of parameters where the result may need one.
    Row(types: "i4 i4 ? i4", places: "rdi ? ? rax"), Row(types: "? i4", places: "? ?"),
    // DWARF agrees with the ABI, or the function is refused.
    Row(types: "i4 i4@5 i4@4 f8@17", places: "rdi rsi xmm0 rax"),
    Row(types: "i4 i4 i4@5", places: "? ? ?"), Row(types: "i4 f8@5", places: "? ?"),
    Row(types: "- i4 i4 i4 i4 i4 i4 i4@5", places: "? ? ? ? ? ? ?"),
    Row(
      types: "- i4 i4 i4 i4 i4 i4 i4", places: "rdi rsi rdx rcx r8 r9 ?", hasStack: false),
    // Behind a prologue, a vector register may hold an argument of the stack.
    Row(
      types: "f8 f8 f8 f8 f8 f8 f8 f8 f8 i4 f4", places: "? ? ? ? ? ? ? ? rdi stack+0 xmm0",
      isAfterPrologue: true),
    Row(types: "f8 f8 i4", places: "xmm0 rdi xmm0", isAfterPrologue: true),
    // At most 16 values.
    Row(
      types: "- " + Array(repeating: "i4", count: 18).joined(separator: " "),
      places: "rdi rsi rdx rcx r8 r9 "
        + (0..<10).map { "stack+\(8 * $0)" }.joined(separator: " ") + " ? ?"),
  ]

  @Test("each value is read where the ABI puts it", arguments: rows)
  func placed(row: Row) throws {
    let layout = ArgumentLayout(
      try signature(row.types), hasStack: row.hasStack, isAfterPrologue: row.isAfterPrologue)
    #expect(text(layout) == row.places)
  }

  @Test("forms and sizes are those of the types")
  func forms() throws {
    let layout = ArgumentLayout(
      try signature("f4 i1 u2 E4:0 c b p s S1 v2"), hasStack: true)
    let forms = layout.fetches.map { [Int($0.moment), Int($0.form), Int($0.bytes)] }
    #expect(
      forms == [
        [0, 0, 1], [0, 0, 2], [0, 0, 4], [0, 0, 1], [0, 0, 1], [0, 0, 8],
        [0, NREC_FORM_TEXT, 8], [0, NREC_FORM_LIBSTDCXX, 8], [0, NREC_FORM_LIBCXX, 8], [1, 0, 4],
      ])
  }

  static let wrong = [
    "", "x", "i3", "{", "{X", "{III", "{M", "{M0", "{M-1", "S3", "e4", "i4@", "i4@x",
  ]

  @Test("what is no type is none", arguments: wrong)
  func refused(text: String) { #expect(PassedType(text[...]) == nil) }

  static let spelled: [(String, String)] = [
    ("f()", "-"), ("f(void)", "-"), ("f(int id, char *name, double x) -> int", "i4 i4 s f8"),
    ("f(const char *, char const *b, char **c) -> char *", "s s s p"),
    ("f(unsigned a, unsigned long b, long long c, short int d, signed char e)", "- u4 u8 i8 i2 i1"),
    ("f(uint8_t a, int64 b, size_t c, bool d, char e, float f)", "- u1 i8 u8 b c f4"),
    ("f(struct foo *p, FILE *q, int *, void *r) -> void", "- p p p p"),
    ("f(std::string const &s, std::string t) -> std::string", "v1 S1 v1"),
    ("f(long double x) -> long double", "L L"), (" f ( int a ) -> void * ", "p i4"),
    ("f(unsigned char a, unsigned) -> unsigned short", "u2 u1 u4"),
  ]

  @Test("a function that is spelled out is understood", arguments: spelled)
  func spelledOut(text: String, types: String) throws {
    let rules = try ArgumentRule.parse(text)
    let found = try #require(rules.first?.signature)
    let expected = try signature(types)
    #expect(found.parameters.map(\.type) == expected.parameters.map(\.type))
    #expect(found.result == expected.result)
    #expect(rules[0].rule.text == "f")
  }

  @Test("names are kept, and a module belongs to the function's name")
  func names() throws {
    let rules = try ArgumentRule.parse("f:mod:libx(int id, char * name, int) -> int")
    #expect(rules[0].signature?.parameters.map(\.name) == ["id", "name", ""])
    #expect(rules[0].rule.text == "f:mod:libx")
    #expect(try ArgumentRule.parse("a* !ab").map(\.rule.text) == ["a*", "!ab"])
  }

  static let clones = ["f.isra.0", "f.constprop.0", "f.part.1", "f.constprop.0.isra.0", "f.cold"]

  @Test("gcc's clones are told by their names", arguments: clones)
  func clone(name: String) {
    #expect(ArgumentReader.isClone(name))
    #expect(!ArgumentReader.isClone("fisra.0"))
  }
}
