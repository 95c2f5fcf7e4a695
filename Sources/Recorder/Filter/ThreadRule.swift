// SPDX-License-Identifier: Apache-2.0

import CRecordingABI

/// One rule of which threads are recorded: a glob for a thread's name, `!` before it to remove.
///
/// A name is the kernel's (comm), at most 15 bytes: pthread_setname_np and prctl set it, and the
/// main thread has the program's until it does. The agent compares; here rules are only checked.
public struct ThreadRule: Equatable, Sendable {
  /// The rule as the user wrote it.
  public let text: String
  /// `!`: takes threads out of what the rules before it chose.
  public let isRemoval: Bool
  let pattern: [UInt8]

  /// How many rules the message to an agent holds.
  public static let most = Int(NREC_MOST_THREAD_RULES)
  static let longest = Int(NREC_THREAD_PATTERN) - 1

  /// Parses a rule. Throws where it is none, or is too long for the agent.
  public init(_ text: String) throws(ThreadRuleError) {
    self.text = text
    isRemoval = text.hasPrefix("!")
    pattern = Array((isRemoval ? text.dropFirst() : text[...]).utf8)
    if pattern.isEmpty { throw .empty(rule: text) }
    if pattern.contains(0) || pattern.count > Self.longest {
      throw .tooLong(rule: text, length: pattern.count)
    }
    let isPlain = !pattern.contains { "*?[\\".utf8.contains($0) }
    if isPlain, pattern.count > Self.longestName { throw .neverMatches(rule: text) }
  }

  private static let longestName = 15

  /// As the agent receives it.
  var message: nrec_thread_rule {
    var rule = nrec_thread_rule()
    rule.is_removal = isRemoval ? 1 : 0
    withUnsafeMutableBytes(of: &rule.pattern) { $0.copyBytes(from: pattern) }
    return rule
  }

  /// The rules of a command line.
  public static func parse(_ texts: [String]) throws(ThreadRuleError) -> [ThreadRule] {
    if texts.count > most { throw .tooMany(found: texts.count) }
    var rules: [ThreadRule] = []
    for text in texts { rules.append(try ThreadRule(text)) }
    return rules
  }
}

/// Why a rule cannot be used: one line each.
public enum ThreadRuleError: Error, Equatable, Sendable {
  case empty(rule: String)
  case tooLong(rule: String, length: Int)
  /// The kernel cuts names to 15 bytes.
  case neverMatches(rule: String)
  case tooMany(found: Int)
}

extension ThreadRuleError: CustomStringConvertible {
  /// One line for people: what is wrong, where, and what helps.
  public var description: String {
    switch self {
    case .empty(let rule):
      "thread '\(rule)': expected a thread's name or a pattern such as 'worker*', found none"
    case .tooLong(let rule, let length):
      "thread '\(rule)': expected at most \(ThreadRule.longest) bytes, found \(length)"
    case .neverMatches(let rule):
      "thread '\(rule)': the kernel keeps 15 bytes of a thread's name: end it with *"
    case .tooMany(let found):
      "expected at most \(ThreadRule.most) rules for threads, found \(found)"
    }
  }
}
