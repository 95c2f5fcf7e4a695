// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Why nothing was measured: what, where, and what to do.
public struct BenchError: Error, CustomStringConvertible {
  /// The message.
  public var description: String
  init(_ description: String) { self.description = description }
}

func isInPath(_ tool: String) -> Bool {
  let path = getenv("PATH").map { String(cString: $0) } ?? "/usr/bin:/bin"
  return path.split(separator: ":").contains { access("\($0)/\(tool)", X_OK) == 0 }
}

/// Runs a tool that has to succeed; what it says goes to stderr.
func run(_ words: [String]) throws(BenchError) {
  var actions = posix_spawn_file_actions_t()
  posix_spawn_file_actions_init(&actions)
  defer { posix_spawn_file_actions_destroy(&actions) }
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
  posix_spawn_file_actions_adddup2(&actions, 2, 1)
  let arguments = words.map { strdup($0) } + [nil]
  defer { for argument in arguments { free(argument) } }
  var child: pid_t = 0
  let error = posix_spawnp(&child, words[0], &actions, nil, arguments, environ)
  guard error == 0 else {
    throw BenchError("\(words[0]): cannot start: \(String(cString: strerror(error)))")
  }
  var status: Int32 = 0
  while waitpid(child, &status, 0) < 0 && errno == EINTR {}
  guard status == 0 else {
    let how = status & 0x7f == 0 ? "exit status \(status >> 8 & 0xff)" : "signal \(status & 0x7f)"
    throw BenchError("\(words[0]) failed (\(how)): \(words.suffix(3).joined(separator: " "))")
  }
}

func write(_ text: String, to path: String) throws(BenchError) {
  let file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
  var rest = Array(text.utf8)[...]
  while file >= 0, !rest.isEmpty {
    let count = rest.withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
    if count < 0 && errno == EINTR { continue }
    if count <= 0 { break }
    rest = rest.dropFirst(count)
  }
  let error = errno
  if file >= 0 { close(file) }
  guard file >= 0, rest.isEmpty else {
    throw BenchError("\(path): cannot be written: \(String(cString: strerror(error)))")
  }
}

/// Wall-clock time, and what this thread got of a CPU: on a machine that is shared, or with more
/// threads than CPUs, the first holds waiting too.
struct Elapsed {
  var wall, cpu: Double

  /// Nanoseconds of `body`.
  static func measure<Failure: Error>(_ body: () throws(Failure) -> Void) throws(Failure) -> Elapsed
  {
    let wall = clock(CLOCK_MONOTONIC)
    let cpu = clock(CLOCK_THREAD_CPUTIME_ID)
    try body()
    return Elapsed(
      wall: clock(CLOCK_MONOTONIC) - wall, cpu: clock(CLOCK_THREAD_CPUTIME_ID) - cpu)
  }

  private static func clock(_ which: clockid_t) -> Double {
    var time = timespec()
    clock_gettime(which, &time)
    return Double(time.tv_sec) * 1e9 + Double(time.tv_nsec)
  }
}

/// The middle one; the mean of the two in the middle. 0 of none.
func median(_ values: [Double]) -> Double {
  let sorted = values.sorted()
  guard let last = sorted.last else { return 0 }
  let middle = sorted.count / 2
  return sorted.count % 2 == 1
    ? (sorted.count == 1 ? last : sorted[middle])
    : (sorted[middle - 1] + sorted[middle]) / 2
}

/// The median of the rounds' own ratios: what slows a whole round down, as neighbours of a virtual
/// machine do, slows both of its times down.
func medianRatio(_ times: [Elapsed], _ references: [Elapsed]) -> Double {
  median(zip(times, references).map { $0.wall / $1.wall })
}
