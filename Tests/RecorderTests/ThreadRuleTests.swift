// SPDX-License-Identifier: Apache-2.0

import CRecordingABI
import Testing

@testable import Recorder

/// Rules for threads, before they are sent to an agent.
@Suite struct ThreadRuleTests {
  @Test("a rule is sent as a pattern that ends, and whether it removes")
  func message() throws {
    var options = RecordOptions()
    options.threads = try ThreadRule.parse(["worker*", "!worker-9"])
    let config = options.config(incarnation: 0, clock: TraceClock())
    #expect(config.thread_rules == 2)
    let rules = withUnsafeBytes(of: config.threads) {
      Array($0.bindMemory(to: nrec_thread_rule.self))
    }
    let patterns = rules.map { rule in
      withUnsafeBytes(of: rule.pattern) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }
    #expect(patterns.prefix(3) == ["worker*", "worker-9", ""])
    #expect(rules.map(\.is_removal).prefix(3) == [0, 1, 0])
    #expect(RecordOptions().config(incarnation: 0, clock: TraceClock()).thread_rules == 0)
  }

  @Test(
    "what is no rule is one line",
    arguments: [
      (["!"], "thread '!': expected a thread's name or a pattern such as 'worker*', found none"),
      ([""], "thread '': expected a thread's name or a pattern such as 'worker*', found none"),
      (
        ["a-name-that-is-cut"],
        "thread 'a-name-that-is-cut': the kernel keeps 15 bytes of a thread's name: end it with *"
      ),
      (
        [String(repeating: "[ab]", count: 16)],
        "thread '\(String(repeating: "[ab]", count: 16))': expected at most 62 bytes, found 64"
      ),
      (Array(repeating: "a", count: 17), "expected at most 16 rules for threads, found 17"),
    ])
  func refused(texts: [String], message: String) {
    #expect { try ThreadRule.parse(texts) } throws: { "\($0)" == message }
  }
}
