// SPDX-License-Identifier: Apache-2.0

import Glibc

/// `less -R` between us and a terminal: $PAGER, or less; none where stdout is no terminal.
public final class Pager {
  /// Where to write: the pager's input, or stdout.
  private var descriptor: Int32 = 1
  private var child: pid_t = 0

  /// Starts the pager where it `isWanted` and stdout is a terminal. Where that is less, and less can, the
  /// text's first line stays at the top if it `hasHeading`.
  ///
  /// Until `finish`, SIGINT is the pager's.
  public init(isWanted: Bool, hasHeading: Bool = false) {
    var chosen = getenv("PAGER").map { String(cString: $0) } ?? "less"
    guard isWanted, isatty(1) == 1, !chosen.isEmpty, chosen != "cat" else { return }
    if hasHeading, chosen == "less", lessVersion() ?? 0 >= Self.firstWithHeader {
      chosen = "less --header=1"
    }
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else { return }
    // The pager must not hold the end that we write to: it would never see the end.
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, ends[0], 0)
    // F: what fits the screen is just printed; R: colours; X: it stays there.
    setenv("LESS", "FRX", 0)
    let words: [UnsafeMutablePointer<CChar>?] = [
      strdup("sh"), strdup("-c"), strdup(chosen), nil,
    ]
    defer { for word in words { free(word) } }
    let status = posix_spawn(&child, "/bin/sh", &actions, nil, words, environ)
    close(ends[0])
    guard status == 0 else {
      close(ends[1])
      child = 0
      return
    }
    descriptor = ends[1]
    // When the user quits the pager, the next write fails, and we end.
    signal(SIGPIPE, SIG_IGN)
    // Ctrl-C is the pager's.
    signal(SIGINT, SIG_IGN)
  }

  /// The first version of less that has --header.
  private static let firstWithHeader = 600

  /// Waits until the reader is done.
  public func finish() {
    guard child > 0 else { return }
    close(descriptor)
    var status: Int32 = 0
    while waitpid(child, &status, 0) < 0 && errno == EINTR {}
    child = 0
    descriptor = 1
    signal(SIGINT, SIG_DFL)
  }

  /// False once the pager, or who reads stdout, has closed its end.
  public func write(_ bytes: [UInt8]) -> Bool {
    bytes.withUnsafeBytes { CommandOutput.write($0, to: descriptor) }
  }
}

/// The number of the version of the less in PATH: its first line is `less 590 (GNU regular expressions)`.
/// Nil where there is none, or it says something else.
private func lessVersion() -> Int? {
  guard let output = popen("less --version 2>/dev/null", "r") else { return nil }
  defer { pclose(output) }
  var line = [CChar](repeating: 0, count: 256)
  guard fgets(&line, Int32(line.count), output) != nil else { return nil }
  let words = String(cString: line).split(separator: " ")
  guard words.count > 1, words[0] == "less" else { return nil }
  return Int(words[1].prefix { $0.isNumber })
}

/// Text gathered to blocks.
public struct PagedText {
  private var bytes: [UInt8] = []
  private let pager: Pager
  /// The reader has closed its end: what follows is dropped.
  public private(set) var isClosed = false

  /// Text for `pager`.
  public init(_ pager: Pager) { self.pager = pager }

  /// Adds `text`, and writes when a block is full.
  public mutating func add(_ text: String) {
    bytes.append(contentsOf: text.utf8)
    if bytes.count >= 1 << 16 { flush() }
  }

  /// Writes what is left.
  public mutating func flush() {
    if !bytes.isEmpty && !isClosed { isClosed = !pager.write(bytes) }
    bytes.removeAll(keepingCapacity: true)
  }
}
