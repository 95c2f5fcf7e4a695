// SPDX-License-Identifier: Apache-2.0
//
// A driver of the flash block of e1000e.h that works as the 2.6.27 driver did. It uses only
// volatile loads and stores of the mapped registers, in that driver's order, so that it is exposed
// to everything that another party does to the registers meanwhile.

#ifndef NUL_E1000E_DRIVER_H
#define NUL_E1000E_DRIVER_H

#include <stddef.h>
#include <stdint.h>

#include "e1000e.h"

typedef enum e1000e_result {
  E1000E_OK = 0,
  E1000E_NO_DESCRIPTOR,  ///< FDV is 0
  E1000E_BUSY,           ///< SCIP stayed 1 for `poll_limit` reads
  E1000E_TIMED_OUT,      ///< FDONE stayed 0 for `poll_limit` reads
  E1000E_CYCLE_ERROR,    ///< FCERR was 1 after each of ten tries
  E1000E_BAD_RANGE,      ///< beyond the NVM's bank: nothing was done
  E1000E_BAD_CHECKSUM,   ///< three tries gave no sum of 0xBABA
  E1000E_NOT_LOCKED,     ///< PR0 or FLOCKDN did not keep what was written
} e1000e_result;

typedef struct e1000e_driver {
  volatile uint8_t *registers;
  uint32_t nvm_offset, bank_size;  ///< bytes, from GFPREG
  uint32_t poll_limit;             ///< reads of HSFSTS before a wait is given up
  /// Called after each FGO, before the first poll: where another CPU's access may fall.
  void (*started)(void *context);
  void *context;
} e1000e_driver;

/// Fills in the driver, with a `poll_limit` of 100, and clears the status bits.
e1000e_result e1000e_driver_init(e1000e_driver *driver, volatile void *registers);

/// Reads `count` words of the valid bank from word `first` (no bank valid: of bank 0).
e1000e_result e1000e_driver_read_words(e1000e_driver *driver, uint32_t first, size_t count,
                                       uint16_t *words);

/// Writes bytes at an offset in a bank (0 or 1), one cycle a byte. A write only clears bits.
e1000e_result e1000e_driver_write_bytes(e1000e_driver *driver, uint32_t bank, uint32_t offset,
                                        const uint8_t *bytes, size_t count);

/// Erases the block that holds that offset of a bank.
e1000e_result e1000e_driver_erase_block(e1000e_driver *driver, uint32_t bank, uint32_t offset);

/// Replaces the NVM: balances the image, erases the bank that is not valid, writes there with the
/// signature still 11b, makes it 10b, and makes the old bank's 00b. A failure before that leaves
/// the old bank valid.
e1000e_result e1000e_driver_commit(e1000e_driver *driver,
                                   const uint16_t image[E1000E_NVM_WORDS]);

/// As the driver's probe: three tries. `sum`, if not NULL, gets the last sum that could be read.
e1000e_result e1000e_driver_validate(e1000e_driver *driver, uint16_t *sum);

/// The driver's fix of October 2008: PR0 protects the range of GFPREG against writes, then FLOCKDN
/// freezes PR0 until reset.
e1000e_result e1000e_driver_write_protect(e1000e_driver *driver);

/// One clear line. E1000E_BAD_CHECKSUM has the 2.6.27 driver's own words.
const char *e1000e_result_text(e1000e_result result);

#endif
