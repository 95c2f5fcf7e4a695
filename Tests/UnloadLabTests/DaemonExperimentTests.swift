// SPDX-License-Identifier: Apache-2.0

import CPatchCore
import CUnloadLab
import Foundation
import Testing

@testable import UnloadLab

extension DaemonTests {
  @Suite struct Experiments {
    typealias Function = @convention(c) () -> Void

    func smp(_ mode: Int, milliseconds: UInt32) throws -> nul_smp_result {
      var result = nul_smp_result()
      try withLibrary { library in
        let function = try library.function("fixture_touch", Function.self)
        let site = try library.site("fixture_touch")
        let tried = nul_smp_experiment(function, site, Int32(mode), milliseconds, &result)
        #expect(tried, "error \(result.error)")
        // The child had a copy of its own.
        #expect(bytes(at: site)[0] == 0xe8)
      }
      return result
    }

    @Test(
      "patching under a running thread kills the child",
      .enabled(if: sysconf(Int32(_SC_NPROCESSORS_ONLN)) > 1, "needs two processors"))
    func unstopped() throws {
      // A single try may be lucky where the two threads share one busy processor.
      var last = nul_smp_result()
      for _ in 0..<10 where last.signal == 0 {
        last = try smp(NUL_SMP_UNSTOPPED, milliseconds: 1000)
      }
      #expect([SIGSEGV, SIGILL, SIGBUS, SIGTRAP].contains(last.signal))
      #expect(last.flips > 0 && last.calls > 0 && !last.timed_out)
    }

    @Test("the same writes under stop-machine leave the child alive")
    func stopped() throws {
      let result = try smp(NUL_SMP_STOPPED, milliseconds: 300)
      #expect(result.signal == 0 && result.result == 0 && !result.timed_out, "\(result)")
      #expect(result.flips > 10 && result.calls > 0)
    }

    @Test("a site that holds no call is refused")
    func refused() throws {
      try withLibrary { library in
        var result = nul_smp_result()
        let function = try library.function("fixture_touch", Function.self)
        let start = try library.address("fixture_touch")
        #expect(!nul_smp_experiment(function, start, Int32(NUL_SMP_STOPPED), 10, &result))
        #expect(result.error == EINVAL)
      }
    }

    @Test("the clock calls the function that many times")
    func clock() throws {
      try withLibrary { library in
        McountMode.clearCounts()
        McountMode.current = .count
        defer { McountMode.current = .off }
        let function = try library.function("fixture_touch", Function.self)
        #expect(nul_time_calls(function, 1000) > 0)
        #expect(McountMode.callCount == 1000)
      }
    }

    @Test("a child forked while another thread holds the recorder's lock can record")
    func fork() throws {
      let field = CallField(siteCount: 64)
      let stranger = CallField(siteCount: 1)  // not registered: each call takes the lock
      let fork = unsafeBitCast(dlsym(nil, "fork"), to: (@convention(c) () -> pid_t).self)
      try withEngine { engine in
        try engine.register(field.text)
        engine.setStopped(true)
        let (isDone, ip) = (Flag(), stranger.site(0))
        let thread = Thread { while !isDone.isSet { nul_record_ip(ip) } }
        thread.start()
        for index in 0..<64 {
          let child = fork()
          if child == 0 {
            npc_patch_lock()
            npc_patch_unlock()
            nul_record_ip(field.site(index))
            var info = nul_record_info()
            _exit(nul_record_find(field.site(index), &info) ? 0 : 1)
          }
          #expect(waitStatus(child) == 0)
        }
        isDone.isSet = true
        while !thread.isFinished { usleep(1000) }
        withExtendedLifetime(stranger) {}
      }
    }

    /// The child's wait status; SIGKILL after five seconds.
    func waitStatus(_ child: pid_t) -> Int32 {
      var status: Int32 = -1
      for _ in 0..<5000 {
        if waitpid(child, &status, WNOHANG) == child { return status }
        usleep(1000)
      }
      kill(child, SIGKILL)
      waitpid(child, &status, 0)
      return status
    }
  }
}
