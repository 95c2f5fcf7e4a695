// SPDX-License-Identifier: Apache-2.0

import CUnloadLab
import Glibc
import LivePatching
import Units

/// What is mapped at the stale address: put there when the module is unloaded, compared byte by
/// byte, and watched access by access.
public final class OccupiedAddress {
  /// What stands there.
  public let occupant: Occupant
  let span: Range<CodeAddress>
  let placement: nul_placement
  let library: Library?
  private let path: String
  /// The network card, where the occupant is one.
  public private(set) var device: E1000eDevice?
  private let deviceBefore: [UInt8]
  private let before: [UInt8]
  private var compared: Range<CodeAddress>

  /// Closes `module` (its dlopen handle) and puts the occupant in its place. `expected` are the
  /// bytes that the engine expects at `ip`.
  init(
    _ occupant: Occupant, insteadOf module: LoadedModule, handle: UnsafeMutableRawPointer,
    ip: CodeAddress, expected: [UInt8], specimens: PreparedSpecimens,
    writeBack: E1000eDevice.WriteBack = .valueRead
  ) throws {
    self.occupant = occupant
    span = module.span.wholePages
    var placement = nul_placement()
    path = occupant == .otherModule ? specimens.otherPath : specimens.path
    switch occupant {
    case .nothing: nul_replace_with_nothing(handle, &placement)
    case .otherModule, .sameModule:
      nul_replace_with_module(handle, span.lowerBound.rawValue, path, &placement)
    default:
      nul_replace_with_memory(
        handle, span.lowerBound.rawValue, Int(span.byteCount), &placement)
    }
    self.placement = placement
    library = placement.handle.map { [path] in Library(path: path, handle: $0) }
    compared = span
    if occupant != .nothing, !placement.landed, !placement.placed {
      throw PlacementError(occupant: occupant, address: span.lowerBound)
    }
    let registers = ip.rounded(downTo: 4096).pointer
    switch occupant {
    case .nothing: compared = span.lowerBound..<span.lowerBound
    case .otherModule, .sameModule: compared = try OccupiedAddress.openText(containing: ip)
    case .otherBytes: OccupiedAddress.fill(span, ip, [UInt8](repeating: 0x5a, count: 5))
    case .sameBytes: OccupiedAddress.fill(span, ip, expected)
    case .device:
      device = try registers.map { page throws(WatchError) in
        try E1000eDevice(at: page, writeBack: writeBack)
      }
    }
    deviceBefore = device.map(OccupiedAddress.state) ?? []
    before = device == nil ? OccupiedAddress.bytes(compared) : []
  }

  /// The text of the module that now stands at `ip`, opened as that kernel's module text was.
  private static func openText(containing ip: CodeAddress) throws -> Range<CodeAddress> {
    guard let module = LoadedModule.find(containing: ip), module.text.contains(ip) else {
      throw PlacementError(occupant: .otherModule, address: ip)
    }
    let status = nul_open_text(
      module.text.lowerBound.rawValue, module.text.upperBound.rawValue)
    guard status == 0 else { throw PlacementError(occupant: .otherModule, address: ip) }
    return module.text
  }

  private static func fill(_ span: Range<CodeAddress>, _ ip: CodeAddress, _ bytes: [UInt8]) {
    guard let start = span.lowerBound.pointer else { return }
    memset(start, 0xa5, Int(span.byteCount))
    memcpy(start + Int(ip - span.lowerBound), bytes, bytes.count)
  }

  private static func bytes(_ range: Range<CodeAddress>) -> [UInt8] {
    [UInt8](
      UnsafeRawBufferPointer(
        start: range.lowerBound.pointer, count: Int(range.byteCount)))
  }

  private static func state(_ device: E1000eDevice) -> [UInt8] {
    let registers = stride(from: 0, to: 0x80, by: 4).flatMap { offset in
      withUnsafeBytes(of: device.peek(offset).littleEndian) { Array($0) }
    }
    return registers + device.flash
  }

  /// What the occupant saw of `event`, and what it changed.
  struct Observation {
    var reads: UInt64?
    var writeCycles: UInt64?
    var bytesChanged = 0
    var deviceReads: UInt64 = 0
    var deviceWrites: UInt64 = 0
  }

  func observe(_ event: () throws -> Void) throws -> Observation {
    if let device { return try observe(device, event) }
    guard occupant != .nothing else {
      try event()
      return Observation()
    }
    var observation = try watch(event)
    let after = OccupiedAddress.bytes(compared)
    observation.bytesChanged = zip(before, after).count { $0 != $1 }
    return observation
  }

  private func observe(_ device: E1000eDevice, _ event: () throws -> Void) throws -> Observation {
    let counts = device.counts
    try event()
    let now = device.counts
    let changed = zip(deviceBefore, OccupiedAddress.state(device)).count { $0 != $1 }
    let (reads, writes) = (now.reads - counts.reads, now.writes - counts.writes)
    return Observation(
      reads: reads, writeCycles: writes, bytesChanged: changed, deviceReads: reads,
      deviceWrites: writes)
  }

  private func watch(_ event: () throws -> Void) throws -> Observation {
    let pages = compared.wholePages
    let isText = library != nil
    let watch = try WatchedMemory(
      UnsafeMutableRawBufferPointer(
        start: pages.lowerBound.pointer, count: Int(pages.byteCount)),
      unwatched: isText ? .readsAndFetches : .nothing)
    try event()
    let counts = watch.counts
    // Text is read and fetched unseen: of a module only the write cycles are known.
    return Observation(reads: isText ? nil : counts.reads, writeCycles: counts.writes)
  }

  /// Leaves the address as the kernel had it before anybody came.
  func vacate() {
    device?.close()
    if let library {
      library.close()
    } else if placement.start != nil {
      munmap(placement.start, Int(span.byteCount))
    }
  }
}

extension Range<CodeAddress> {
  /// All pages that it lies in.
  fileprivate var wholePages: Range<CodeAddress> {
    lowerBound.rounded(downTo: 4096)..<upperBound.rounded(upTo: 4096)
  }
}

/// The occupant is not where the module was.
struct PlacementError: Error, CustomStringConvertible {
  var occupant: Occupant
  var address: CodeAddress
  var description: String {
    "\(occupant.rawValue): could not be put at \(address), where the module "
      + "was; another mapping took the place (run it again)"
  }
}
