// SPDX-License-Identifier: Apache-2.0

import Testing
import TextFormat

@Suite struct NumberTests {
  @Test(
    "thousands are grouped, with a sign or without",
    arguments: [
      (0, "0"), (7, "7"), (999, "999"), (1000, "1,000"), (-999, "-999"), (-1000, "-1,000"),
      (1_234_567, "1,234,567"), (-123_456, "-123,456"), (Int.max, "9,223,372,036,854,775,807"),
    ])
  func groups(number: Int, text: String) { #expect(grouped(number) == text) }

  @Test("one of a thing has no plural")
  func counts() {
    #expect(counted(0, "thread") == "0 threads")
    #expect(counted(1, "thread") == "1 thread")
    #expect(counted(1234, "thread") == "1,234 threads")
    #expect(counted(2, "process", plural: "processes") == "2 processes")
  }

  @Test(
    "decimals are rounded, zeros and all",
    arguments: [
      (0, 1, "0.0"), (12.3, 2, "12.30"), (0.05, 1, "0.1"), (-0.04, 1, "0.0"), (-1.26, 1, "-1.3"),
      (1.5, 0, "2"), (.infinity, 1, "?"), (.nan, 1, "?"), (1e300, 1, "?"),
    ] as [(Double, Int, String)])
  func decimals(value: Double, digits: Int, text: String) { #expect(fixed(value, digits) == text) }

  @Test(
    "a duration is in the largest unit that keeps it at 1 or more",
    arguments: [
      (0, "0 ns"), (999, "999 ns"), (999.6, "1.000 us"), (1234, "1.234 us"),
      (999_999.4, "999.999 us"), (999_999.6, "1.000 ms"), (-1500, "-1.500 us"),
      (2_500_000_000, "2.500 s"), (3.6e15, "3600000.000 s"), (1e30, "1e+21 s"),
    ] as [(Double, String)])
  func durations(nanoseconds: Double, text: String) { #expect(durationText(nanoseconds) == text) }

  @Test(
    "large counts are in the unit that fits, and what is above the last unit is grouped",
    arguments: [
      (999, "999"), (1000, "1.0 k"), (1_949_999, "1.9 M"), (999_999, "999.9 k"),
      (12_345_678_901_234, "12,345.6 G"),
    ] as [(UInt64, String)])
  func scales(number: UInt64, text: String) {
    #expect(scaled(number, ["", " k", " M", " G"]) == text)
  }

  @Test("hexadecimal numbers and bytes, with the zeros that are asked for")
  func hexadecimals() {
    #expect(hexDigits(0) == "0")
    #expect(hexDigits(0x7f_1234) == "7f1234")
    #expect(hexDigits(0x1f, width: 4) == "001f")
    #expect(hexDigits(0x12345, width: 4) == "12345")
    #expect(hexAddress(UInt64.max) == "0xffffffffffffffff")
    #expect(hexDigits([0xe8, 0x0b, 0xff] as [UInt8]) == "e80bff")
    #expect(hexDigits([0xe8, 0x0b] as [UInt8], separator: " ") == "e8 0b")
    #expect(hexDigits([UInt8]()) == "")
  }

  @Test("columns are filled up, never cut")
  func alignment() {
    #expect("ab".leftAligned(in: 4) == "ab  ")
    #expect("ab".rightAligned(in: 4) == "  ab")
    #expect("abcde".leftAligned(in: 4) == "abcde")
    #expect("7".zeroPadded(to: 3) == "007")
  }

  @Test("what would drive the terminal is shown as a number")
  func controls() {
    #expect(neutralised("plain é 漢") == "plain é 漢")
    #expect(neutralised("a\u{1b}[2Jb") == "a\\x1b[2Jb")
    #expect(neutralised("a\nb\u{9b}") == "a\\x0ab\\x9b")
    #expect(neutralised("\u{202e}x") == "\\u{202e}x")
  }
}
