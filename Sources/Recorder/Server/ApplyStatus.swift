// SPDX-License-Identifier: Apache-2.0

import CRecordingABI
import RecordingSchema

/// What became of a plan, for people: the patch core's `NPC_*` in words.
enum ApplyStatus {
  static let done = ModuleLoad.statusWhenDone

  private static let words = [
    done, "the module was gone, or another build", "a site lies outside its text",
    "the plan is not in order", "its text cannot be read", "the bytes are not the file's",
    "the bytes are not the instruction expected", "its text cannot be written",
    "a thread did not stop", "a thread stands inside a site", "no protocol serves a site",
    "the bytes written are not the bytes read", "the processor cannot be synchronised",
    "modules were unloaded meanwhile", "SIGTRAP has another handler",
    "its code may run already: it was loaded before it could be patched safely",
  ]

  /// `the bytes are not the file's, at 0x1a30`.
  static func text(_ applied: nrec_applied) -> String {
    guard applied.status != 0 else { return done }
    let index = Int(applied.status)
    var text =
      words.indices.contains(index) ? words[index] : "refused with status \(applied.status)"
    if applied.offset != 0 { text += ", at 0x" + String(applied.offset, radix: 16) }
    if applied.error != 0 { text += ": \(systemError(applied.error))" }
    return text
  }
}
