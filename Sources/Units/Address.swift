// SPDX-License-Identifier: Apache-2.0
//
// An address is a number that means something in one place alone: in a running process, or in an
// ELF file that the linker laid out. Both are 64 bits wide, and mixing them up compiles where both
// are UInt64. Here they are two types, and only a load bias leads from one to the other. Neither
// can be dereferenced by mistake.

/// Where a `CodeAddress` means something: the address space of a process.
public enum ProcessSpace: Sendable {}

/// Where a `ModuleOffset` means something: one ELF file, as the linker laid it out.
public enum ModuleSpace: Sendable {}

/// An absolute virtual address in a process, this one or a traced one: of code as a rule, of data
/// where a declaration says so.
public typealias CodeAddress = Address<ProcessSpace>

/// A link-time address inside an ELF file: what symbols, segments and relocations name. It is no
/// file offset. In a shared object, which is linked at 0, it is the distance from the load bias.
public typealias ModuleOffset = Address<ModuleSpace>

/// An address in `Space`. Its order is from low to high. At `zero` nothing is mapped; in C's tables
/// it means "none".
@frozen
public struct Address<Space>: TypedNumber, Comparable {
  /// The number itself, for C, for files and for printing in a layout of one's own.
  public var rawValue: UInt64

  /// The value with this number.
  @inlinable
  public init(_ rawValue: UInt64) { self.rawValue = rawValue }
}

// MARK: - Pointers

extension Address where Space == ProcessSpace {
  /// Where `pointer` points, in this process.
  @inlinable
  public init(_ pointer: UnsafeRawPointer) { self.init(UInt64(UInt(bitPattern: pointer))) }

  /// A pointer to this address, for an address of this process; nil for address 0. Whether
  /// anything is mapped there is for the caller to know.
  @inlinable
  public var pointer: UnsafeMutableRawPointer? {
    UnsafeMutableRawPointer(bitPattern: UInt(rawValue))
  }
}
