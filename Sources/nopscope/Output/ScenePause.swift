// SPDX-License-Identifier: Apache-2.0

import CommandOutput
import Glibc

/// Waits between scenes for somebody who reads along: only where stdin and stdout are terminals.
struct ScenePause {
  private var isWanted: Bool
  /// How long the reader took: no part of the demo's time.
  private(set) var waited: Duration = .zero

  init(isWanted: Bool) { self.isWanted = isWanted && isatty(0) == 1 && isatty(1) == 1 }

  /// Asks for Enter before `next`, waits for it, and takes the question away.
  ///
  /// An Enter that was typed before the question is its answer. Where the input ends there is nobody
  /// to ask any more.
  mutating func wait(before next: String) {
    guard isWanted else { return }
    if isTypedAhead {
      isWanted = readLine()
      return
    }
    let began = ContinuousClock.now
    let output: Int32 = isatty(2) == 1 ? 2 : 1
    write("Press Enter for \(next)", to: output)
    let isLine = readLine()
    // Enter has moved the cursor to the next line. A dumb terminal cannot be asked to erase.
    if isOutputDumb {
      if !isLine { write("\n", to: output) }
    } else {
      write((isLine ? "\u{1b}[1A" : "") + "\r\u{1b}[K", to: output)
    }
    isWanted = isLine
    waited += ContinuousClock.now - began
  }

  /// A terminal has shown that Enter already, so the cursor would not be where `wait` erases.
  private var isTypedAhead: Bool {
    var input = pollfd(fd: 0, events: Int16(POLLIN), revents: 0)
    return poll(&input, 1, 0) == 1
  }

  private var isOutputDumb: Bool {
    getenv("TERM").map { String(cString: $0) == "dumb" } ?? true
  }

  /// Reads to the end of a line; false at the end of the input.
  private func readLine() -> Bool {
    var byte: UInt8 = 0
    while true {
      let count = read(0, &byte, 1)
      if count < 0 && errno == EINTR { continue }
      if count <= 0 { return false }
      if byte == UInt8(ascii: "\n") { return true }
    }
  }
}
