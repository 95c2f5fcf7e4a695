// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import TextFormat

/// Bytes of the system's that are no UTF-8, kept in a String.
@Suite struct SystemTextTests {
  @Test(
    "every byte comes back as it was",
    arguments: [
      [], [0x61], [0xff], [0x61, 0xff, 0x62], [0xc3], [0xc3, 0xa4], [0xe2, 0x82],
      [0xe2, 0x82, 0xac],
      [0xf0, 0x9f, 0x98, 0x80], [0xf4, 0x8f, 0xbf, 0xbf], [0xf4, 0x90, 0x80, 0x80],
      [0xed, 0xa0, 0x80],
      [0xc0, 0x80], Array(0x80...0xff), [0xf8, 0x88, 0x80, 0x80, 0x80],
    ] as [[UInt8]])
  func roundTrip(bytes: [UInt8]) {
    let text = systemText(bytes)
    #expect(text.withSystemText { Array(String(cString: $0).utf8).isEmpty } == bytes.isEmpty)
    // U+10FFFF is the only text that stands for another: no file is named so.
    #expect(text.systemBytes == (bytes == [0xf4, 0x8f, 0xbf, 0xbf] ? [0xff] : bytes))
  }

  @Test("what is shown of them is the byte, and what is UTF-8 is shown as it is")
  func shown() {
    #expect(neutralised(systemText([0x61, 0xff, 0xc3, 0xa4])) == "a\\xff\u{e4}")
    let text = systemText([0x64, 0xfe])
    #expect(
      text.withSystemText { [UInt8(bitPattern: $0[0]), UInt8(bitPattern: $0[1])] } == [0x64, 0xfe])
  }
}
