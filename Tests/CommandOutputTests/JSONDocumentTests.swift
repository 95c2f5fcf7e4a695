// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import CommandOutput

@Suite struct JSONDocumentTests {
  private struct Body: Encodable {
    var zero = 0
    var nothing: String?
    var `as` = ["a"]
  }

  @Test("the schema is a member beside the body's, among their sorted keys")
  func schema() throws {
    #expect(
      try jsonText(Body(), schema: "test", version: 3)
        == #"{"as":["a"],"nothing":null,"schema":"nopscope.test/3","zero":0}"#)
  }
}
