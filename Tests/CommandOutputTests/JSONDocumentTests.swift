// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import CommandOutput

@Suite struct JSONDocumentTests {
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

  @Test("what is missing is null at every depth; keys are sorted; the schema is a member")
  func nulls() throws {
    #expect(
      try jsonText(Body(), schema: "test", version: 3)
        == #"{"flag":true,"named":{"a":0,"z":18446744073709551615},"none":null,"nothing":null,"#
        + #""part":null,"parts":[{"name":"a","size":null},{"name":"b","size":7}],"ratio":1.5,"#
        + #""schema":"nopscope.test/3","values":[1,null],"whole":5,"word":"one"}"#)
  }

  @Test(
    "strings are escaped, terminal controls too",
    arguments: [
      ("a\"b\\c/", #""a\"b\\c/""#), ("\n\t\r", #""\n\t\r""#),
      ("\u{1b}[2J\u{7f}\u{9b}", #""\u001b[2J\u007f\u009b""#), ("é漢", "\"é漢\""), ("", "\"\""),
    ])
  func escapes(text: String, expected: String) throws { #expect(try jsonText(text) == expected) }

  @Test("a value that is missing by itself is null")
  func optional() throws {
    #expect(try jsonText(String?.none) == "null")
    #expect(try jsonText([Double?.none, 2]) == "[null,2]")
    #expect(try jsonText([Part]()) == "[]")
  }

  @Test("JSON has no infinity", arguments: [Double.infinity, -.infinity, .nan])
  func infinity(number: Double) {
    #expect(throws: EncodingError.self) { try jsonText([number]) }
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
    #expect(try jsonText(Numbers()) == "{\(nulls)}")
    let eight = nulls.replacing("\"int8\":null", with: "\"int8\":-8")
    #expect(try jsonText(Numbers(int8: -8)) == "{\(eight)}")
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
      try jsonText(Base())
        == #"{"list":[1,{"list":null}],"other":{"name":"c","size":null}}"#)
  }
}
