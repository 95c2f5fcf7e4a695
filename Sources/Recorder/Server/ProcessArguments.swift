// SPDX-License-Identifier: Apache-2.0

import Glibc
import TextFormat

/// The arguments of a process, the program's name first, as proc_pid_cmdline(5) has them; empty where they
/// cannot be read.
///
/// Processes of one program are told apart by them. Their text is the process's own, and may be anything: of
/// more than `longestArguments` bytes the rest is left out, and the last one that is kept ends in `…`.
func processArguments(_ process: pid_t) -> [String] {
  let file = Descriptor(open("/proc/\(process)/cmdline", O_RDONLY | O_CLOEXEC))
  guard file.number >= 0, let bytes = file.readSome(at: 0, atMost: longestArguments + 1)
  else { return [] }
  return arguments(ofCommandLine: bytes)
}

/// In bytes, the zero bytes between them counted.
let longestArguments = 1000

/// Arguments, each ended by a zero byte; a process that has changed them may have left that out.
func arguments(ofCommandLine bytes: [UInt8]) -> [String] {
  let isCut = bytes.count > longestArguments
  var words = bytes.prefix(longestArguments)
    .split(separator: 0, omittingEmptySubsequences: false).map { systemText($0) }
  if isCut {
    words[words.count - 1] += "…"
  } else if words.last == "" {
    words.removeLast()
  }
  return words
}
