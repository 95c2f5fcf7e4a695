// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A shared object opened by us with dlopen.
public final class Library {
  public let path: String
  public private(set) var handle: UnsafeMutableRawPointer?

  /// RTLD_NOW | RTLD_LOCAL.
  public init(path: String) throws(LibraryError) {
    self.path = path
    handle = dlopen(path, RTLD_NOW | RTLD_LOCAL)
    guard handle != nil else { throw LibraryError(text: String(cString: dlerror())) }
  }

  deinit { close() }

  public func symbol(_ name: String) throws(LibraryError) -> UnsafeMutableRawPointer {
    guard let handle else { throw LibraryError(text: "\(path): is closed") }
    guard let address = dlsym(handle, name) else {
      throw LibraryError(text: "\(path): exports no symbol \(name) (nm -D lists what it does)")
    }
    return address
  }

  /// Gives the handle away: whoever takes it calls dlclose.
  public func relinquish() -> UnsafeMutableRawPointer? {
    defer { handle = nil }
    return handle
  }

  /// Takes over a handle that somebody else opened.
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

public struct LibraryError: Error, CustomStringConvertible {
  public var text: String
  public init(text: String) { self.text = text }
  public var description: String { text }
}
