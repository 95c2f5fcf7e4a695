// SPDX-License-Identifier: Apache-2.0

import CommandOutput
import Testing

@Suite struct TextTableTests {
  @Test("columns are as wide as their widest cell, and no line ends in blanks")
  func widths() {
    var table = TextTable(["CALLS", "TOTAL", "FUNCTION"], rightAligned: 2)
    table.add(["1,234,567", "1 ns", "main"])
    table.add(["1", "-", ""])
    #expect(
      table.text() == """
            CALLS  TOTAL  FUNCTION
        1,234,567   1 ns  main
                1      -

        """)
  }

  @Test("a table that is written line by line keeps the widths that it was given")
  func lineByLine() {
    let table = TextTable([.init("OFFSET", width: 8), .init("LEN", .right), .init("FORM")])
    #expect(table.head == "OFFSET    LEN  FORM\n")
    #expect(table.line(["0x10", "5", "e8"]) == "0x10        5  e8\n")
    #expect(table.line(["0x1234567890", "5"]) == "0x1234567890    5\n")
  }
}
