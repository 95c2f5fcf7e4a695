// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Why a process cannot be visited: one line each. Nothing of it was changed.
public enum VisitError: Error, Equatable, Sendable {
  case noSuchProcess(pid_t)
  case hasEnded(pid_t)
  case isKernelThread(pid_t)
  case isOurselves(pid_t)
  case isStopped(pid_t)
  case isTraced(pid_t, by: pid_t, name: String)
  case refused(pid_t, path: String, errno: Int32)
  case notX86(pid_t)
  case isStatic(pid_t)
  case notGlibc(pid_t, missing: String)
  case isConfined(pid_t, by: String)
  /// No thread of it could be stopped in time.
  case noThread(pid_t, because: String)
  /// It has one thread, which was in the allocator, in the loader or in fork at each look.
  case isBusy(pid_t, looks: Int)
  case callFailed(pid_t, call: String, errno: Int32)
  case noAgent(pid_t, because: String)
  /// The visitor did not finish in time. It may still do so.
  case isLate(pid_t, seconds: Int)
  /// The visitor's function has refused: an errno.
  case agentRefused(pid_t, errno: Int32)
}

extension VisitError: CustomStringConvertible {
  /// One line: what is wrong, with which process, and what helps.
  public var description: String {
    switch self {
    case .noSuchProcess(let process): "process \(process): there is no such process"
    case .hasEnded(let process):
      "process \(process): it has ended, and its parent has not noticed yet"
    case .isKernelThread(let process): "process \(process): it is a thread of the kernel"
    case .isOurselves(let process): "process \(process): this is nopscope itself"
    case .isStopped(let process):
      "process \(process): it is stopped: let it run first (kill -CONT \(process))"
    case .isTraced(let process, let tracer, let name):
      "process \(process): \(name) (\(tracer)) traces it, and there can be only one: end that first"
    case .refused(let process, let path, let error):
      refusal(process, path, error)
    case .notX86(let process): "process \(process): it is no x86-64 program"
    case .isStatic(let process):
      "process \(process): it is linked statically: nothing can be loaded into it"
    case .notGlibc(let process, let missing):
      "process \(process): its C library has no \(missing): only glibc 2.34 and later is supported"
    case .isConfined(let process, let what):
      "process \(process): \(what): a system call that attaching needs may end it"
    case .noThread(let process, let reason):
      "process \(process): none of its threads can be stopped: \(reason)"
    case .isBusy(let process, let looks):
      "process \(process): at \(looks) looks its only thread was in the allocator, the loader or "
        + "fork, where nothing can be started: try again"
    case .callFailed(let process, let call, let error):
      "process \(process): \(call) fails there: \(String(cString: strerror(error)))"
    case .noAgent(let process, let reason):
      "process \(process): the agent cannot be loaded into it: \(reason)"
    case .isLate(let process, let seconds):
      "process \(process): what was started there has not finished within \(seconds) s"
    case .agentRefused(let process, EBUSY):
      "process \(process): it is recorded already, or its recorder was killed: then nopscope detach "
        + "\(process) gives it back"
    case .agentRefused(let process, ESRCH): "process \(process): nothing records it"
    case .agentRefused(let process, let error):
      "process \(process): its agent has refused: \(String(cString: strerror(error)))"
    }
  }

  private func refusal(_ process: pid_t, _ path: String, _ error: Int32) -> String {
    let said = "process \(process): \(path): \(String(cString: strerror(error)))"
    if error != EACCES && error != EPERM { return said }
    return said + ": attaching needs the right to trace it: be root, or the same user where "
      + "/proc/sys/kernel/yama/ptrace_scope is 0 or missing"
  }
}
