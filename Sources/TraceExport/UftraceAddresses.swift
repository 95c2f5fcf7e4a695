// SPDX-License-Identifier: Apache-2.0

/// The addresses that stand for functions in uftrace's data.
///
/// uftrace identifies a function by its address alone. These are made up, not those of the run:
/// each module has a window of 4 GiB of its own and its functions follow each other in it, 16 bytes
/// each. So an address that two modules had one after the other is never confused, and what a
/// damaged file says of addresses does not matter.
struct UftraceAddresses {
  struct Window {
    /// As the map file has it; without white space, and with a file name that no other has.
    var path: String
    var fileName: String
    /// Of `ExportedFunctions`, in the order of their addresses.
    var functions: [Int32] = []
  }

  private(set) var windows: [Window] = []
  private var byModule: [String: Int] = [:]
  private var fileNames: Set<String> = []
  /// By the function's index; 0: none yet.
  private var addresses: [UInt64] = []

  /// uftrace's records have 48 bits for an address, and it takes the upper half for the kernel's.
  private static let mostWindows = 1 << 14
  private static let functionSize: UInt64 = 16

  static func start(ofWindow index: Int) -> UInt64 { UInt64(index + 1) << 32 }

  @inline(__always)
  mutating func address(_ index: Int32, _ functions: borrowing ExportedFunctions) -> UInt64 {
    let place = Int(index)
    if place < addresses.count && addresses[place] != 0 { return addresses[place] }
    return add(index, module: functions.all[place].module)
  }

  /// Of a function that was looked up before.
  @inline(__always)
  func known(_ index: Int32) -> UInt64 { addresses[Int(index)] }

  private mutating func add(_ index: Int32, module: String) -> UInt64 {
    let window = window(module)
    let address = Self.start(ofWindow: window) + Self.offset(windows[window].functions.count)
    windows[window].functions.append(index)
    while addresses.count <= Int(index) { addresses.append(0) }
    addresses[Int(index)] = address
    return address
  }

  /// Within the window. It does not begin at 0, which uftrace takes for no symbol.
  static func offset(_ place: Int) -> UInt64 { 0x1000 + UInt64(place) * functionSize }

  /// The window of a module, by its path.
  mutating func window(_ module: String) -> Int {
    if let known = byModule[module] { return known }
    if windows.count == Self.mostWindows { return Self.mostWindows - 1 }
    let path = Self.cleaned(module.isEmpty ? "unknown-module" : module)
    let name = path.split(separator: "/").last.map(String.init) ?? "module"
    var unique = path
    var fileName = name
    var count = 1
    while !fileNames.insert(fileName).inserted {
      count += 1
      fileName = "\(name)~\(count)"
      unique = "\(path)~\(count)"
    }
    windows.append(Window(path: unique, fileName: fileName))
    byModule[module] = windows.count - 1
    return windows.count - 1
  }

  /// Map files end a path at white space, and take `[` for a mapping without a file.
  private static func cleaned(_ path: String) -> String {
    let bytes = path.utf8.prefix(2000).map { $0 <= 0x20 || $0 == 0x22 ? UInt8(ascii: "_") : $0 }
    let text = String(decoding: bytes, as: UTF8.self)
    return text.hasPrefix("[") ? "_" + text : text
  }
}
