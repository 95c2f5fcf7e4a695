// SPDX-License-Identifier: Apache-2.0
//
// libFuzzer's command line around one target: NOPSCOPE_FUZZ names it (scripts/fuzz).

import CLibFuzzer
import FuzzEntries
import Glibc

/// The environment names the target, not argv: libFuzzer starts itself again to merge corpora.
private func chosenTarget() -> FuzzTarget {
  let name = getenv("NOPSCOPE_FUZZ").map { String(cString: $0) } ?? ""
  guard let target = FuzzTarget(rawValue: name) else {
    let names = FuzzTarget.allCases.map(\.rawValue).joined(separator: ", ")
    fatalError("NOPSCOPE_FUZZ: expected one of \(names), found '\(name)'")
  }
  return target
}

/// Removed by scripts/fuzz, which gives every run a TMPDIR of its own.
private func scratchFolder() -> String {
  let parent = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
  var template = Array("\(parent)/nopscope-fuzz.XXXXXX".utf8CString)
  guard mkdtemp(&template) != nil else { fatalError("cannot make a folder in \(parent)") }
  return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

/// The target and its runner. They are global because libFuzzer passes no context to its callbacks;
/// it calls them from one thread.
private enum Chosen {
  static let target = chosenTarget()
  nonisolated(unsafe) static let runner: FuzzRunner = {
    do { return try FuzzRunner(scratch: scratchFolder()) } catch { fatalError("\(error)") }
  }()
}

/// A limit of processor time. libFuzzer's own limit is of wall-clock time, which also passes while
/// a busy machine runs other processes.
private let mostSeconds = 5.0

private func processorSeconds() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

/// libFuzzer's own main calls it with each input.
@_cdecl("LLVMFuzzerTestOneInput")
public func runOneInput(_ data: UnsafePointer<UInt8>?, _ size: Int) -> Int32 {
  let input = Array(UnsafeBufferPointer(start: data, count: size))
  let began = processorSeconds()
  let broken = Chosen.runner.run(Chosen.target, input)
  precondition(broken.isEmpty, broken.joined(separator: "\n"))
  let spent = processorSeconds() - began
  precondition(spent < mostSeconds, "\(spent) s of the processor for \(size) bytes")
  return 0
}

/// libFuzzer calls this instead of its own mutations, for every target.
@_cdecl("LLVMFuzzerCustomMutator")
public func mutateInput(
  _ data: UnsafeMutablePointer<UInt8>, _ size: Int, _ maximum: Int, _ seed: UInt32
) -> Int {
  Chosen.target == .recording
    ? mutateRecording(data, size, maximum, seed) : LLVMFuzzerMutate(data, size, maximum)
}
