// SPDX-License-Identifier: Apache-2.0

import Foundation
import JSONText
import Testing

@Suite struct JSONTextTests {
  private struct Part: Encodable {
    var name: String
    var size: Int?
  }

  private struct Body: Encodable {
    enum Word: String, Encodable { case one }

    var word = Word.one
    var nothing: String?
    var none: Word?
    var part: Part?
    var parts = [Part(name: "a", size: nil), Part(name: "b", size: 7)]
    var values: [Int?] = [1, nil]
    var named: [String: UInt64] = ["z": .max, "a": 0]
    var flag = true
    var ratio = 1.5
    var whole = 5.0
  }

  private func text(_ value: some Encodable) throws -> String {
    String(decoding: try jsonBytes(value), as: UTF8.self)
  }

  @Test("what is missing is null at every depth; keys are sorted")
  func nulls() throws {
    #expect(
      try text(Body())
        == #"{"flag":true,"named":{"a":0,"z":18446744073709551615},"none":null,"nothing":null,"#
        + #""part":null,"parts":[{"name":"a","size":null},{"name":"b","size":7}],"ratio":1.5,"#
        + #""values":[1,null],"whole":5,"word":"one"}"#)
  }

  @Test(
    "strings are escaped, terminal controls too",
    arguments: [
      ("a\"b\\c/", #""a\"b\\c/""#), ("\n\t\r", #""\n\t\r""#), ("\0\u{1f} ", #""\u0000\u001f ""#),
      ("\u{1b}[2J\u{7f}\u{9b}", #""\u001b[2J\u007f\u009b""#), ("é漢", "\"é漢\""), ("", "\"\""),
      ("\u{80}x\u{9f}\u{a0}", "\"\\u0080x\\u009f\u{a0}\""),
      ("\u{2028}\u{10ffff}", "\"\u{2028}\u{10ffff}\""),
      (String(decoding: [0xed, 0xa0, 0x80], as: UTF8.self), "\"\u{fffd}\u{fffd}\u{fffd}\""),
    ])
  func escapes(string: String, expected: String) throws {
    #expect(Array(try text(string).utf8) == Array(expected.utf8))
    #expect(try text(["\(string)": 1]) == "{\(expected):1}")
  }

  @Test("every character is read by another reader as it was written")
  func everyCharacter() throws {
    var string = ""
    for number in UInt32(0)...0x2fff {
      if let character = Unicode.Scalar(number) { string.unicodeScalars.append(character) }
    }
    let read = try JSONDecoder().decode([String].self, from: Data(try jsonBytes([string])))
    #expect(Array(try #require(read.first).utf8) == Array(string.utf8))
  }

  @Test("a value that is missing by itself is null")
  func optional() throws {
    #expect(try text(String?.none) == "null")
    #expect(try text([Double?.none, 2]) == "[null,2]")
    #expect(try text([Part]()) == "[]")
  }

  @Test("JSON has no infinity", arguments: [Double.infinity, -.infinity, .nan])
  func infinity(number: Double) {
    #expect(throws: EncodingError.self) { try text([number]) }
    #expect(throws: EncodingError.self) { try text([Float(number)]) }
  }

  private struct Numbers: Encodable {
    var flag: Bool?
    var text: String?
    var half: Float?
    var real: Double?
    var int: Int?
    var int8: Int8?
    var int16: Int16?
    var int32: Int32?
    var int64: Int64?
    var uint: UInt?
    var uint8: UInt8?
    var uint16: UInt16?
    var uint32: UInt32?
    var uint64: UInt64?
  }

  @Test("a nil of every type of the language is null, and a value is itself")
  func everyType() throws {
    let names = Mirror(reflecting: Numbers()).children.compactMap(\.label).sorted()
    #expect(names.count == 14)
    let nulls = names.map { "\"\($0)\":null" }.joined(separator: ",")
    #expect(try text(Numbers()) == "{\(nulls)}")
    let values = Numbers(
      flag: false, text: "t", half: 0.5, real: -2, int: .min, int8: .min, int16: .min, int32: .min,
      int64: .min, uint: .max, uint8: .max, uint16: .max, uint32: .max, uint64: .max)
    #expect(
      try text(values)
        == #"{"flag":false,"half":0.5,"int":-9223372036854775808,"int16":-32768,"#
        + #""int32":-2147483648,"int64":-9223372036854775808,"int8":-128,"real":-2,"text":"t","#
        + #""uint":18446744073709551615,"uint16":65535,"uint32":4294967295,"#
        + #""uint64":18446744073709551615,"uint8":255}"#)
  }

  private final class Base: Encodable {
    func encode(to encoder: any Encoder) throws {
      var container = encoder.container(keyedBy: Key.self)
      var list = container.nestedUnkeyedContainer(forKey: .list)
      try list.encode(1)
      var inner = list.nestedContainer(keyedBy: Key.self)
      try inner.encodeIfPresent(Int?.none, forKey: .list)
      try Part(name: "c", size: nil).encode(to: container.superEncoder(forKey: .other))
      #expect(list.count == 2)
    }

    enum Key: CodingKey { case list, other }
  }

  @Test("containers that are written by hand")
  func nested() throws {
    #expect(
      try text(Base())
        == #"{"list":[1,{"list":null}],"other":{"name":"c","size":null}}"#)
  }

  private struct Twice: Encodable {
    enum Key: CodingKey { case again, other }

    func encode(to encoder: any Encoder) throws {
      var container = encoder.container(keyedBy: Key.self)
      try container.encode(1, forKey: .again)
      try container.encode(2, forKey: .other)
      try container.encode(3, forKey: .again)
    }
  }

  @Test("of a key that is written twice the last value stands, once")
  func twice() throws { #expect(try text(Twice()) == #"{"again":3,"other":2}"#) }
}
