// SPDX-License-Identifier: Apache-2.0

import Glibc
import TextFormat

/// Writes all of `text` to a descriptor; false if it cannot be written.
@discardableResult
public func write(_ text: String, to descriptor: Int32) -> Bool {
  var text = text
  return text.withUTF8 { write(UnsafeRawBufferPointer($0), to: descriptor) }
}

/// Writes all of `bytes` to a descriptor; false if they cannot be written.
func write(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32) -> Bool {
  guard let start = bytes.baseAddress else { return true }
  var done = 0
  while done < bytes.count {
    let wrote = Glibc.write(descriptor, start + done, bytes.count - done)
    if wrote < 0 && errno == EINTR { continue }
    if wrote <= 0 { return false }
    done += wrote
  }
  return true
}

/// One line on stderr: `nopscope: FILE: what, where, expected and found`.
public func complain(_ message: String, by program: String = "nopscope") {
  write("\(program): \(neutralised(message))\n", to: 2)
}

/// The first problems of a recording, each a line on stderr, and how many there are more.
public func complainOf(_ problems: [String], in directory: String, most: Int = 10) {
  for problem in problems.prefix(most) { complain("\(directory): \(problem)") }
  if problems.count > most {
    complain("\(directory): \(grouped(problems.count - most)) more problems like these")
  }
}
