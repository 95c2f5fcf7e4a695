// SPDX-License-Identifier: Apache-2.0

import CPatchCore
import Glibc
public import Units

/// What an armed site calls: a jump, within a 32-bit displacement of its module, to code of ours
/// wherever that is.
///
/// ```
/// ff 25 00 00 00 00   jmp *0(%rip)
/// xx xx xx xx xx xx xx xx
/// ```
public struct EntryStub: Equatable, Sendable {
  /// Where a site calls.
  public let address: CodeAddress
}

/// A page of entry stubs near one module, readable and executable. It is never unmapped: a thread
/// may be in it long after the last site that called it was disarmed.
public struct EntryStubPage: Sendable {
  /// One for each destination, in their order.
  public let stubs: [EntryStub]

  /// Maps a page within reach of all of `span` and writes a stub for each of `destinations` (256
  /// at most). The page is writable only here, before any other code has its address.
  public init(
    near span: Range<CodeAddress>, destinations: [UnsafeRawPointer]
  ) throws(EntryStubError) {
    precondition(destinations.count <= 256, "a page has room for 256 stubs")
    guard let page = npc_map_near(span.lowerBound.rawValue, span.upperBound.rawValue, 4096) else {
      throw EntryStubError(errorNumber: errno)
    }
    stubs = destinations.enumerated().map { index, destination in
      let stub = page + index * 16
      stub.storeBytes(of: 0x25ff, as: UInt16.self)
      (stub + 2).storeBytes(of: 0, as: UInt32.self)
      (stub + 6).storeBytes(of: UInt64(UInt(bitPattern: destination)), as: UInt64.self)
      return EntryStub(address: CodeAddress(stub))
    }
    guard mprotect(page, 4096, PROT_READ | PROT_EXEC) == 0 else {
      let error = errno
      munmap(page, 4096)
      throw EntryStubError(errorNumber: error)
    }
  }
}

/// No page could be mapped near the module.
public struct EntryStubError: Error, CustomStringConvertible {
  /// errno of the refusal.
  public var errorNumber: Int32
  /// One line for people: what is wrong, where, and what helps.
  public var description: String {
    let reason = String(cString: strerror(errorNumber))
    return errorNumber == ENOMEM
      ? "no room for an entry stub within 2 GiB of the module (\(reason))"
      : "an entry stub cannot be made executable (\(reason)): is making memory executable "
        + "forbidden here (PR_SET_MDWE, SELinux, a seccomp filter)?"
  }
}
