// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

@testable import TraceAnalysis

/// The text of replays, as bytes.
@Suite struct TextBufferTests {
  private static func text(_ write: (inout TextBuffer) -> Void) -> String {
    var bytes: [UInt8] = []
    var out = TextBuffer {
      bytes += $0
      return true
    }
    write(&out)
    out.flush()
    return String(decoding: bytes, as: UTF8.self)
  }

  @Test("numbers are decimal digits, with zeros up to a width")
  func numbers() {
    for number: UInt64 in [0, 9, 10, 99, 100, 123_456, .max] {
      #expect(Self.text { $0.add(number) } == String(number))
      #expect(TextBuffer.digits(number) == String(number).count)
    }
    #expect(Self.text { $0.add(7, width: 6) } == "000007")
    #expect(Self.text { $0.add(1_234_567, width: 6) } == "1234567")
    #expect(Self.text { $0.add(7, width: 40) } == String(repeating: "0", count: 19) + "7")
  }

  @Test("what is added comes out in that order, whatever its length")
  func order() {
    var expected = ""
    let found = Self.text { out in
      // From nothing to more than the buffer holds: it is full at every possible place.
      for length in stride(from: 0, to: 100_000, by: 1_717) {
        let long = String(
          repeating: Character(UnicodeScalar(UInt8(97 + length % 26))), count: length)
        out.add(long)
        out.add(Array(long.utf8))
        out.add(spaces: length % 512)
        out.add("|")
        out.add(UInt64(length))
        out.endLine()
        expected += long + long + String(repeating: " ", count: length % 512) + "|\(length)\n"
      }
    }
    #expect(found == expected)
  }

  @Test("once nothing more can be written, nothing is")
  func closed() {
    var blocks = 0
    var out = TextBuffer { _ in
      blocks += 1
      return false
    }
    for _ in 0..<100_000 {
      out.add("0123456789")
      out.endLine()
    }
    out.add([UInt8](repeating: 1, count: 1 << 20))
    out.flush()
    #expect(out.isClosed)
    #expect(blocks == 1)
  }
}
