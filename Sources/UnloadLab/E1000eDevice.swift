// SPDX-License-Identifier: Apache-2.0

import CUnloadLab
import Glibc
import TextFormat
import Units

/// The e1000e's flash registers on a page of the caller's choice, and the flash behind them: a
/// model (CUnloadLab/include/e1000e.h says of what, and from which sources), over real accesses.
///
/// It is a watch: one at a time in a process, and none beside a `WatchedMemory`.
public final class E1000eDevice {
  /// What a locked read-modify-write whose comparison failed writes back.
  ///
  /// Which of the two the hardware of 2008 did was never published.
  public enum WriteBack: UInt32, Sendable, CaseIterable {
    case valueRead = 0
    case allOnes = 1
  }

  /// What happened to the device.
  public struct Counts: Sendable, Equatable {
    /// Of registers, by any code; a read-modify-write is one of each.
    public var reads: UInt64
    /// Of registers, by any code.
    public var writes: UInt64
    /// Write-backs of a comparison that failed.
    public var failedCompares: UInt64
    /// Flash cycles that ran, and of these the erases.
    public var cycles: UInt64
    /// Flash cycles that erased.
    public var erases: UInt64
    /// Cycles and register writes that FCERR answered.
    public var refused: UInt64
  }

  /// The NVM as a programmer clipped to the flash chip would find it.
  public struct NVM: Sendable, Equatable {
    /// The first bank whose signature is valid.
    public var validBank: Int?
    /// Of words 0x00...0x3F of that bank, or of bank 0.
    public var sum: UInt16

    /// The state of the flash that a driver would find.
    public init(validBank: Int?, sum: UInt16) {
      self.validBank = validBank
      self.sum = sum
    }

    /// Whether a driver's probe accepts it: there is a valid bank and its sum is 0xBABA.
    public var isIntact: Bool { validBank != nil && sum == UInt16(E1000E_NVM_SUM) }
  }

  /// Bytes that one erase cycle clears.
  public static let blockSize = Int(E1000E_BLOCK_SIZE)

  private var device: OpaquePointer?
  let registers: UnsafeMutableRawPointer

  /// Puts the register block at a page of the caller's.
  ///
  /// - Parameters:
  ///   - page: one page, aligned, of a writable private mapping that outlives the device. Its
  ///     contents are lost.
  ///   - writeBack: see `WriteBack`.
  ///   - busyReads: reads of HSFSTS for which a flash cycle stays in progress.
  ///   - hasDescriptor: false clears FDV, so that a driver has to refuse the part.
  /// - Throws: `WatchError`: the page is not one, or something is watched already.
  public init(
    at page: UnsafeMutableRawPointer, writeBack: WriteBack, busyReads: UInt32 = 0,
    hasDescriptor: Bool = true
  ) throws(WatchError) {
    var options = e1000e_options()
    options.write_back = e1000e_write_back(writeBack.rawValue)
    options.busy_reads = busyReads
    options.without_descriptor = !hasDescriptor
    var status: Int32 = 0
    registers = page
    device = e1000e_create(page, &options, &status)
    guard device != nil else {
      throw WatchError(status: status, address: CodeAddress(page), length: Self.blockSize)
    }
  }

  deinit { close() }

  /// Takes the block away: the page is then readable and writable.
  ///
  /// Does nothing the second time.
  public func close() {
    e1000e_destroy(device)
    device = nil
  }

  private var open: OpaquePointer {
    guard let device else { preconditionFailure("the e1000e device was used after close()") }
    return device
  }

  /// What happened to the device until now.
  public var counts: Counts {
    let counts = e1000e_read_counts(open)
    return Counts(
      reads: counts.reads, writes: counts.writes, failedCompares: counts.failed_compares,
      cycles: counts.cycles, erases: counts.erases, refused: counts.refused)
  }

  /// The flash as a driver finds it at its next start.
  public var nvm: NVM {
    let bank = (0...1).first { e1000e_bank_valid(open, UInt32($0)) }
    return NVM(validBank: bank, sum: e1000e_bank_sum(open, UInt32(bank ?? 0)))
  }

  /// A copy of the flash, from behind.
  public var flash: [UInt8] {
    [UInt8](UnsafeBufferPointer(start: e1000e_flash(open), count: Int(E1000E_FLASH_SIZE)))
  }

  /// A register's value from behind: no access takes place.
  ///
  /// `width` is 2 or 4 bytes.
  public func peek(_ offset: Int, width: Int = 4) -> UInt32 {
    e1000e_peek(open, UInt32(offset), UInt32(width))
  }

  /// The accesses since the device was placed, the driver's and others', in order of time.
  public var accesses: [MemoryAccess] { MemoryAccess.logged() }

  /// The registers by name, one a line: `HSFSTS 04  4008  FDV`.
  public func dump() -> [String] {
    Self.names.map { name, offset, width, bits in
      let value = peek(offset, width: width)
      let set = bits.filter { value >> $0.bit & 1 == 1 }.map(\.name)
      let head = "\(name) \(hexDigits(offset, width: 2))  \(hexDigits(value, width: width * 2))"
      return set.isEmpty ? head : head + "  " + set.joined(separator: " ")
    }
  }

  private typealias Bit = (bit: Int, name: String)
  private static let names: [(String, Int, Int, [Bit])] = [
    ("GFPREG", 0x00, 4, []),
    (
      "HSFSTS", 0x04, 2,
      [(0, "FDONE"), (1, "FCERR"), (2, "AEL"), (5, "SCIP"), (14, "FDV"), (15, "FLOCKDN")]
    ),
    ("HSFCTL", 0x06, 2, []),
    ("FADDR", 0x08, 4, []),
    ("FDATA0", 0x10, 4, []),
    ("FRAP", 0x50, 4, []),
    ("PR0", 0x74, 4, [(15, "RPE"), (31, "WPE")]),
  ]
}
