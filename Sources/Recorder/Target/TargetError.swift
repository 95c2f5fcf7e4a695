// SPDX-License-Identifier: Apache-2.0

import Glibc
import TextFormat

/// Why a program cannot be recorded: one line each.
public enum TargetError: Error, Equatable, Sendable {
  case notFound(name: String, isPath: Bool)
  case notExecutable(path: String, reason: String)
  case unreadable(path: String, errno: Int32)
  /// Neither ELF nor `#!`.
  case notProgram(path: String, found: [UInt8])
  case otherArchitecture(path: String, found: String)
  /// No PT_INTERP: no loader runs, so nothing is preloaded.
  case isStatic(path: String)
  /// Its loader is not glibc's.
  case otherLoader(path: String, interpreter: String)
  /// setuid, setgid or file capabilities: the loader ignores LD_PRELOAD.
  case isPrivileged(path: String, what: String)
  case damaged(path: String)
  /// A segment lies beyond the end of the file.
  case truncated(path: String, expected: UInt64, found: UInt64)
  case noInterpreter(path: String)
  case manyInterpreters(path: String)

  /// As a shell has it: 127 not found, 126 not executable; 125: we cannot trace it.
  public var exitStatus: Int32 {
    switch self {
    case .notFound: 127
    case .notExecutable: 126
    default: 125
    }
  }
}

extension TargetError: CustomStringConvertible {
  /// One line for people: what is wrong, where, and what helps.
  public var description: String {
    switch self {
    case .notFound(let name, let isPath):
      isPath ? "\(name): no such program" : "\(name): no such program in PATH"
    case .notExecutable(let path, let reason): "\(path): cannot be run: \(reason)"
    case .unreadable(let path, let errno):
      "\(path): cannot be read, so its call sites cannot be found: \(systemError(errno))"
    case .notProgram(let path, let found):
      "\(path): expected an ELF program or a script (#!), found "
        + (found.isEmpty ? "an empty file" : "a file that begins with \(spaced(found))")
    case .otherArchitecture(let path, let found):
      "\(path): expected a 64-bit x86-64 program, found \(found)"
    case .isStatic(let path):
      "\(path): statically linked (no PT_INTERP): nothing can be preloaded into it: link it "
        + "dynamically"
    case .otherLoader(let path, let interpreter):
      "\(path): expected a program of glibc's, found one whose loader is \(interpreter)"
    case .isPrivileged(let path, let what):
      "\(path): \(what): the loader preloads nothing into it: record a copy without that bit"
    case .damaged(let path): "\(path): an ELF file that is truncated or damaged"
    case .truncated(let path, let expected, let found):
      "\(path): a truncated ELF file: expected \(expected) bytes at least, found \(found): build it "
        + "again"
    case .noInterpreter(let path):
      "\(path): expected an interpreter's path behind #!, found none"
    case .manyInterpreters(let path): "\(path): a script whose interpreters are scripts, too many"
    }
  }

  private func spaced(_ bytes: [UInt8]) -> String {
    hexDigits(bytes, separator: " ")
  }
}
