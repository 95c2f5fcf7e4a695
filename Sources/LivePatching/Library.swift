// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A shared object opened by us with dlopen.
public final class Library {
  /// As it was given to dlopen.
  public let path: String
  /// What dlopen returned; nil after `close`.
  public private(set) var handle: UnsafeMutableRawPointer?

  /// RTLD_NOW | RTLD_LOCAL.
  public init(path: String) throws(LibraryError) {
    self.path = path
    handle = dlopen(path, RTLD_NOW | RTLD_LOCAL)
    guard handle != nil else { throw LibraryError(text: String(cString: dlerror())) }
  }

  deinit { close() }

  /// Address of the symbol `name`. Throws where the library has none or is closed.
  public func symbol(_ name: String) throws(LibraryError) -> UnsafeMutableRawPointer {
    guard let handle else { throw LibraryError(text: "\(path): is closed") }
    guard let address = dlsym(handle, name) else {
      throw LibraryError(text: "\(path): exports no symbol \(name) (nm -D lists what it does)")
    }
    return address
  }

  /// Gives the handle to the caller, who then has to call dlclose.
  public func relinquish() -> UnsafeMutableRawPointer? {
    defer { handle = nil }
    return handle
  }

  /// Takes over a handle that other code opened.
  public init(path: String, handle: UnsafeMutableRawPointer) {
    self.path = path
    self.handle = handle
  }

  /// dlclose, once.
  public func close() {
    guard let open = handle else { return }
    handle = nil
    dlclose(open)
  }
}

/// What dlopen, dlsym or dlclose said.
public struct LibraryError: Error, CustomStringConvertible {
  /// The message.
  public var text: String
  /// An error with this message.
  public init(text: String) { self.text = text }
  /// One line for people: what is wrong, where, and what helps.
  public var description: String { text }
}
