// SPDX-License-Identifier: Apache-2.0

import CUnloadLab

/// Why an operation of the driver failed.
public enum E1000eDriverError: Error, Equatable, CustomStringConvertible {
  case noDescriptor
  case busy
  case timedOut
  case cycleError
  case badRange
  case badChecksum
  case notLocked

  init?(_ result: e1000e_result) {
    switch result {
    case E1000E_OK: return nil
    case E1000E_NO_DESCRIPTOR: self = .noDescriptor
    case E1000E_BUSY: self = .busy
    case E1000E_TIMED_OUT: self = .timedOut
    case E1000E_BAD_RANGE: self = .badRange
    case E1000E_BAD_CHECKSUM: self = .badChecksum
    case E1000E_NOT_LOCKED: self = .notLocked
    default: self = .cycleError
    }
  }

  /// `.badChecksum` has the 2.6.27 driver's own words.
  public var description: String {
    let result =
      switch self {
      case .noDescriptor: E1000E_NO_DESCRIPTOR
      case .busy: E1000E_BUSY
      case .timedOut: E1000E_TIMED_OUT
      case .cycleError: E1000E_CYCLE_ERROR
      case .badRange: E1000E_BAD_RANGE
      case .badChecksum: E1000E_BAD_CHECKSUM
      case .notLocked: E1000E_NOT_LOCKED
      }
    return "e1000e: " + String(cString: e1000e_result_text(result))
  }
}

/// A driver that works the device through its mapped registers alone, as that of 2.6.27 did.
public final class E1000eDriver {
  private var driver = e1000e_driver()
  private var started: (() -> Void)?

  /// The device outlives its driver.
  public init(_ device: E1000eDevice) throws(E1000eDriverError) {
    try check(e1000e_driver_init(&driver, device.registers))
  }

  /// Reads of HSFSTS before a wait for SCIP or FDONE is given up; 100 at first.
  public var pollLimit: UInt32 {
    get { driver.poll_limit }
    set { driver.poll_limit = newValue }
  }

  /// Called between the start of each flash cycle and the driver's first look at its outcome:
  /// where another CPU's access may fall.
  public func onCycleStarted(_ body: (() -> Void)?) {
    started = body
    driver.context = Unmanaged.passUnretained(self).toOpaque()
    driver.started = { context in
      guard let context else { return }
      Unmanaged<E1000eDriver>.fromOpaque(context).takeUnretainedValue().started?()
    }
  }

  /// Reads words of the valid bank, of bank 0 if none is.
  public func readWords(from first: Int, count: Int) throws(E1000eDriverError) -> [UInt16] {
    var words = [UInt16](repeating: 0, count: count)
    try check(e1000e_driver_read_words(&driver, UInt32(first), count, &words))
    return words
  }

  /// Writes bytes in a bank (0 or 1), one flash cycle each.
  ///
  /// A write only clears bits.
  public func write(_ bytes: [UInt8], bank: Int, offset: Int) throws(E1000eDriverError) {
    try check(
      e1000e_driver_write_bytes(&driver, UInt32(bank), UInt32(offset), bytes, bytes.count))
  }

  /// Erases the block that holds that offset of a bank.
  public func eraseBlock(bank: Int, offset: Int) throws(E1000eDriverError) {
    try check(e1000e_driver_erase_block(&driver, UInt32(bank), UInt32(offset)))
  }

  /// Replaces the NVM by `image`, its 0x40 words balanced to 0xBABA, in the bank not in use.
  public func commit(_ image: [UInt16]) throws(E1000eDriverError) {
    precondition(image.count == Int(E1000E_NVM_WORDS), "an NVM image has 0x40 words")
    try check(e1000e_driver_commit(&driver, image))
  }

  /// The probe's check, tried three times.
  ///
  /// Returns the sum, 0xBABA.
  @discardableResult
  public func validate() throws(E1000eDriverError) -> UInt16 {
    var sum: UInt16 = 0
    try check(e1000e_driver_validate(&driver, &sum))
    return sum
  }

  /// The fix of October 2008: PR0 covers the NVM against writes, FLOCKDN freezes PR0.
  public func writeProtect() throws(E1000eDriverError) {
    try check(e1000e_driver_write_protect(&driver))
  }

  private func check(_ result: e1000e_result) throws(E1000eDriverError) {
    if let error = E1000eDriverError(result) { throw error }
  }
}
