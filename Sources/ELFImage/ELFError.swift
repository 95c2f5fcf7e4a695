// SPDX-License-Identifier: Apache-2.0

import Glibc
import TextFormat

/// Why a file cannot be read as a 64-bit x86-64 ELF file.
///
/// Every case names the file, and the description is one line.
public enum ELFError: Error, Equatable, Sendable {
  /// A system call on the file failed.
  case unreadable(path: String, operation: String, errno: Int32)
  /// A directory, a device, a pipe: something with no size of its own.
  case notRegular(path: String, kind: String)
  /// More bytes than `limit`.
  case tooLarge(path: String, size: UInt64, limit: UInt64)
  /// Far more bytes than are on the disk for it.
  case sparse(path: String, size: UInt64, onDisk: UInt64)
  /// The first bytes are not `7f 45 4c 46`.
  case notELF(path: String, found: [UInt8])
  /// EI_CLASS says something else than ELFCLASS64.
  case not64Bit(path: String, class: UInt8)
  /// EI_DATA says something else than ELFDATA2LSB.
  case notLittleEndian(path: String, encoding: UInt8)
  /// e_machine says something else than EM_X86_64.
  case otherMachine(path: String, machine: UInt16)
  /// e_type says something else than ET_REL, ET_EXEC and ET_DYN.
  case otherType(path: String, type: UInt16)
  /// `what` should reach from `offset` for `expected` bytes; the file has `found` there.
  case truncated(path: String, what: String, offset: UInt64, expected: UInt64, found: UInt64)
  /// `what`, at file offset `offset`, is not as the ELF specification has it.
  case malformed(path: String, what: String, offset: UInt64, expected: String, found: String)
}

extension ELFError: CustomStringConvertible {
  /// One line for people: what is wrong, where, and what helps.
  public var description: String {
    switch self {
    case .unreadable(let path, let operation, let errno):
      "\(path): \(operation): \(String(cString: strerror(errno)))"
    case .notRegular(let path, let kind):
      "\(path): expected a regular file, found \(kind)"
    case .tooLarge(let path, let size, let limit):
      "\(path): \(size) bytes long, expected at most \(limit)"
    case .sparse(let path, let size, let onDisk):
      "\(path): \(size) bytes long, of which \(onDisk) are on the disk: no linker writes such a file"
    case .notELF(let path, let found):
      "\(path): not an ELF file: expected 7f 45 4c 46 at offset 0, found "
        + (found.isEmpty ? "nothing" : hexDigits(found, separator: " "))
    case .not64Bit(let path, let elfClass):
      "\(path): expected a 64-bit ELF file (class 2), found "
        + (elfClass == 1 ? "a 32-bit one (class 1)" : "class \(elfClass)")
    case .notLittleEndian(let path, let encoding):
      "\(path): expected little-endian data (encoding 1), found "
        + (encoding == 2 ? "big-endian (encoding 2)" : "encoding \(encoding)")
    case .otherMachine(let path, let machine):
      "\(path): expected x86-64 code (machine 62), found "
        + (machineName(machine).map { "\($0) (machine \(machine))" } ?? "machine \(machine)")
    case .otherType(let path, let type):
      "\(path): expected an object, executable or shared object (type 1, 2 or 3), found type \(type)"
        + (type == 4 ? " (a core dump)" : "")
    case .truncated(let path, let what, let offset, let expected, let found):
      "\(path): \(what) at file offset \(hexAddress(offset)): expected \(expected) bytes, found \(found): "
        + "the file is truncated or damaged"
    case .malformed(let path, let what, let offset, let expected, let found):
      "\(path): \(what) at file offset \(hexAddress(offset)): expected \(expected), found \(found)"
    }
  }
}

private func machineName(_ machine: UInt16) -> String? {
  switch machine {
  case 3: "Intel 80386"
  case 8: "MIPS"
  case 21: "PowerPC64"
  case 22: "IBM S/390"
  case 40: "Arm"
  case 183: "AArch64"
  case 243: "RISC-V"
  case 258: "LoongArch"
  default: nil
  }
}
