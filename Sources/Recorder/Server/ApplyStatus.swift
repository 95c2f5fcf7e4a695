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
    "a thread did not stop", "a thread is inside a site", "no protocol can patch a site",
    "the bytes written are not the bytes read", "the processor cannot be synchronised",
    "modules were unloaded meanwhile", "SIGTRAP has another handler",
    "its code may run already: it was loaded before it could be patched safely",
  ]

  /// What went wrong when, by the patch core's `NPC_PHASE_*`.
  private static let phases = [
    "in the plan", "when it was verified", "when its text was opened", "when threads were stopped",
    "when it was written", "when it was read back", "when its text was closed",
  ]

  /// The report of a plan: what went wrong, where, and when; of an anomaly also what was expected
  /// and found, and what follows from it.
  static func text(_ applied: nrec_applied) -> String {
    guard applied.status != 0 else { return done }
    let index = Int(applied.status)
    var text =
      words.indices.contains(index) ? words[index] : "refused with status \(applied.status)"
    if applied.offset != 0 { text += ", at 0x" + String(applied.offset, radix: 16) }
    if applied.error != 0 { text += ": \(systemError(applied.error))" }
    if applied.is_off != 0 { text += anomaly(applied) }
    return text
  }

  /// `, when it was verified: expected e8 10 00 00 00, found cc 10 00 00 00: …`.
  private static func anomaly(_ applied: nrec_applied) -> String {
    var text = ""
    let phase = Int(applied.phase)
    if phases.indices.contains(phase) { text += ", \(phases[phase])" }
    if applied.length > 0 {
      text += ": expected \(bytes(applied.expected, applied.length))"
      if applied.has_actual != 0 { text += ", found \(bytes(applied.actual, applied.length))" }
    }
    if applied.left_changed != 0 { text += "; it could not be put back" }
    return text + ": the tracer is off in this process, and patches nothing more"
  }

  private static func bytes(
    _ six: (UInt8, UInt8, UInt8, UInt8, UInt8, UInt8), _ length: UInt8
  ) -> String {
    [six.0, six.1, six.2, six.3, six.4, six.5].prefix(Int(length))
      .map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: " ")
  }
}
