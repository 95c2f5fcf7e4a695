// SPDX-License-Identifier: Apache-2.0

public import Units

/// Which function a number means.
public struct FunctionName: Sendable, Hashable {
  /// As in the ELF file; nil where no symbol is known.
  public var rawName: String?
  /// In the recording's style; see `NameStyle`.
  ///
  /// Not safe for a terminal as it is.
  public var name: String?
  /// Index of the module in the process; nil where no module has this number.
  public var moduleIndex: Int?
  /// Of its file; nil where the module is not known.
  public var modulePath: String?
  /// Lower-case hexadecimal; nil where the file has none.
  public var buildID: String?
  /// Which load of the module, from 1; 0 where it is not known.
  public var generation: Int
  /// Link-time address of the call site; nil where it is not known.
  public var offset: ModuleOffset?
  /// Where it is defined; nil where that is not known.
  public var source: SourceLine?
  /// Its return was not hooked: it has entries and no exits.
  public var isEntryOnly: Bool

  /// The same in whichever load of its file, in whichever process.
  public var ofAnyLoad: FunctionName {
    var function = self
    function.generation = 0
    function.moduleIndex = nil
    return function
  }

  /// What people are shown: the name, or `module+0x1234`, or `function 17`.
  public func label(number: UInt64) -> String {
    if let name { return name }
    let file = modulePath.map { String($0.split(separator: "/").last ?? "?") }
    if let file, let offset { return "\(file)+\(offset)" }
    if let file { return "\(file):\(number)" }
    return "function \(number)"
  }
}
