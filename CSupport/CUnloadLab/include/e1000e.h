// SPDX-License-Identifier: Apache-2.0
//
// The network card that 2.6.27 broke: the 4 KiB block of flash programming registers of an 82566 or
// 82567 on ICH8 to ICH10, over a watched page (watch.h), with the flash behind it, and a driver.
//
// THIS IS A MODEL. The registers follow Intel's chipset data sheet and what the 2.6.27 driver and
// flashrom do with them. How the real part answered a locked instruction was never published; the
// commit that marked dynamic ftrace broken says "the results of cmpxchg on device memory are
// undefined (and will likely result in a write)". Some facts are certain: CMPXCHG's destination
// "receives a write cycle without regard to the result of the comparison" (Intel SDM vol. 2), a
// failing `lock cmpxchg` page-faults as a write, and under KVM it reaches a device as a read and
// then a write of the value read. So in this model a locked read-modify-write is one read and one
// write-back. What a failed comparison writes back is one of two models to choose from.
//
// Each instruction really runs on the CPU. Before it, the model puts its registers into the page;
// after it, the model takes what the instruction left there as what was written.
//
//   off  name    width  bits
//   00   GFPREG   32    base 12:0, limit 28:16, units of 4 KiB; read-only
//   04   HSFSTS   16    0 FDONE, 1 FCERR, 2 AEL: write 1 to clear; 4:3 BERASE, 5 SCIP, 14 FDV:
//                       read-only; 15 FLOCKDN: write 1 to set, until reset
//   06   HSFCTL   16    0 FGO: write 1 to start a cycle, reads 0; 2:1 FCYCLE (0 read, 2 write,
//                       3 erase); 9:8 FDBC: bytes - 1
//   08   FADDR    32    linear address 23:0
//   10   FDATA0   32    data
//   50   FRAP     32    15:8 regions that may be written, 7:0 read; read-only
//   54+4n FREGn   32    region n = 0...4: base 12:0, limit 28:16; read-only
//   74   PR0      32    base 12:0, 15 RPE, limit 28:16, 31 WPE; frozen by FLOCKDN
//
// A cycle that touches a protected range, a region that FRAP does not grant, or an address beyond
// the flash sets FCERR and does not run; so does FCYCLE 1, which is reserved. A register write
// while SCIP is 1 sets FCERR and is dropped. A write cycle can only clear bits; an erase fills the
// BERASE block around FADDR with FF. Writes to other offsets are lost.

#ifndef NUL_E1000E_H
#define NUL_E1000E_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  E1000E_BLOCK_SIZE = 4096,    ///< of the registers
  E1000E_FLASH_SIZE = 65536,
  E1000E_BANK_SIZE = 4096,     ///< two banks fill the GbE region; an erase block is one bank
  E1000E_NVM_OFFSET = 4096,    ///< of the GbE region, and so of bank 0, in the flash
  E1000E_NVM_WORDS = 0x40,     ///< 16-bit words under the checksum
  E1000E_NVM_SUM = 0xBABA,

  E1000E_GFPREG = 0x00, E1000E_HSFSTS = 0x04, E1000E_HSFCTL = 0x06, E1000E_FADDR = 0x08,
  E1000E_FDATA0 = 0x10, E1000E_FRAP = 0x50, E1000E_FREG0 = 0x54, E1000E_PR0 = 0x74,

  E1000E_FDONE = 1 << 0, E1000E_FCERR = 1 << 1, E1000E_AEL = 1 << 2, E1000E_BERASE_4K = 1 << 3,
  E1000E_SCIP = 1 << 5, E1000E_FDV = 1 << 14, E1000E_FLOCKDN = 1 << 15,

  E1000E_FGO = 1 << 0, E1000E_FCYCLE_READ = 0 << 1, E1000E_FCYCLE_WRITE = 2 << 1,
  E1000E_FCYCLE_ERASE = 3 << 1, E1000E_FDBC_SHIFT = 8,
};

#define E1000E_RPE ((uint32_t)1 << 15)
#define E1000E_WPE ((uint32_t)1 << 31)

/// What a locked read-modify-write whose comparison failed writes back.
typedef enum e1000e_write_back {
  E1000E_WRITE_BACK_VALUE = 0,  ///< what it read
  E1000E_WRITE_BACK_ONES = 1,   ///< all ones: "an errant write of a few bits of ones"
} e1000e_write_back;

typedef struct e1000e_options {
  e1000e_write_back write_back;
  /// Reads of HSFSTS (that write nothing) for which a cycle stays in progress, SCIP = 1.
  /// 0: it is complete when the instruction that started it is.
  uint32_t busy_reads;
  bool without_descriptor;  ///< FDV = 0: a driver has to refuse the part
} e1000e_options;

typedef struct e1000e_counts {
  uint64_t reads, writes;      ///< of registers, by anyone; a read-modify-write is both
  uint64_t failed_compares;    ///< write-backs of a comparison that failed
  uint64_t cycles, refused;    ///< cycles that ran; cycles and writes that set FCERR
  uint64_t erases;             ///< of the cycles that ran
} e1000e_counts;

typedef struct e1000e e1000e;

/// Set-up; allocates. Puts the block at `page`: one page, aligned, of a writable private mapping of
/// the caller's, whose contents are lost. The flash holds a valid NVM in bank 0, FF in bank 1.
/// There is one device at a time. NULL on failure, with nul_watch_start's errno in `*error`.
e1000e *e1000e_create(void *page, const e1000e_options *options, int *error);

/// Set-up. Removes the block; `page` is then readable and writable again.
void e1000e_destroy(e1000e *device);

e1000e_counts e1000e_read_counts(const e1000e *device);

/// Reads the flash directly, as a programmer clipped to the chip would: no register changes.
const uint8_t *e1000e_flash(const e1000e *device);
/// The 16-bit sum of words 0x00...0x3F of a bank (0 or 1).
uint16_t e1000e_bank_sum(const e1000e *device, unsigned bank);
/// Whether the bank's signature, bits 15:14 of word 0x13, is 10b.
bool e1000e_bank_valid(const e1000e *device, unsigned bank);
/// A register's value, by its offset and width (2 or 4), read directly.
uint32_t e1000e_peek(const e1000e *device, unsigned offset, unsigned width);

/// Fills in an NVM image: a MAC address, the device's ids in words 0x0A...0x0E, a valid signature,
/// and the balancing word 0x3F.
void e1000e_make_image(uint16_t image[E1000E_NVM_WORDS]);
/// Sets word 0x3F so that the image's sum is 0xBABA.
void e1000e_balance(uint16_t image[E1000E_NVM_WORDS]);

#endif
