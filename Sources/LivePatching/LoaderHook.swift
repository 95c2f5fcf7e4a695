// SPDX-License-Identifier: Apache-2.0

import CPatchCore
import Glibc
import MachineCode
import Units

/// The jump in the loader's debug hook, through which loads and unloads are announced.
public enum LoaderHook {
  /// Plants the jump; does nothing if it is there. It stays until `remove`.
  public static func install(decoder: Decoder) throws(LoaderHookError) {
    var error = npc_patch_prepare()
    if error == 0 {
      error = npc_loader_hook_install(capstoneVerifier, UnsafeMutableRawPointer(decoder.handle))
    }
    guard error == 0 else { throw LoaderHookError(errorNumber: error) }
  }

  /// Whether the loader's announcements reach us.
  public static var isInstalled: Bool { npc_loader_hook_installed() }

  /// Takes the hook out. Throws where the loader's function could not be written.
  public static func remove() throws(LoaderHookError) {
    let error = npc_loader_hook_remove()
    guard error == 0 else { throw LoaderHookError(errorNumber: error) }
  }

  /// The journal's entry for the jump itself, for `audit`.
  public static var change: KnownChange? {
    var poke = npc_poke()
    guard npc_loader_hook_poke(&poke) else { return nil }
    return KnownChange(
      address: CodeAddress(poke.address),
      original: withUnsafeBytes(of: poke.expected) { [UInt8]($0.prefix(Int(poke.length))) },
      current: withUnsafeBytes(of: poke.replacement) { [UInt8]($0.prefix(Int(poke.length))) })
  }
}

/// The hook could not be put in or taken out.
public struct LoaderHookError: Error, CustomStringConvertible {
  /// errno of the refusal.
  public var errorNumber: Int32
  /// One line for people: what is wrong, where, and what helps.
  public var description: String {
    switch errorNumber {
    case EBUSY:
      "the loader's debug hook holds other bytes than the loader's own: a debugger's breakpoint, "
        + "or another tracer? Detach it first"
    case ENOTSUP: "this C library's loader has no debug hook with room for a jump"
    default:
      "the jump at the loader's debug hook cannot be written: "
        + "\(String(cString: strerror(errorNumber)))"
    }
  }
}
