// SPDX-License-Identifier: Apache-2.0
#include "e1000e_driver.h"

#include <stdbool.h>
#include <string.h>

enum {
  DEFAULT_POLL_LIMIT = 100,
  CYCLE_TRIES = 10,
  CHECKSUM_TRIES = 3,
  UNIT_SHIFT = 12,           // GFPREG counts 4 KiB
  UNIT_MASK = 0x1fff,
  SIGNATURE_WORD = 0x13,
  SIGNATURE_BYTE = 2 * SIGNATURE_WORD + 1,  // the word's high byte
  SIGNATURE_MASK = 0xc0, SIGNATURE_VALID = 0x80,
};

static uint16_t read16(const e1000e_driver *driver, unsigned offset) {
  return *(volatile uint16_t *)(driver->registers + offset);
}
static uint32_t read32(const e1000e_driver *driver, unsigned offset) {
  return *(volatile uint32_t *)(driver->registers + offset);
}
static void write16(const e1000e_driver *driver, unsigned offset, uint16_t value) {
  *(volatile uint16_t *)(driver->registers + offset) = value;
}
static void write32(const e1000e_driver *driver, unsigned offset, uint32_t value) {
  *(volatile uint32_t *)(driver->registers + offset) = value;
}

// One cycle.

typedef struct request {
  uint16_t kind;      // FCYCLE in its place
  uint32_t address;   // linear, in the flash
  unsigned count;     // bytes, 1 to 4
  uint32_t data;      // of a write; the answer of a read
} request;

static bool wait_for(const e1000e_driver *driver, uint16_t mask, uint16_t value) {
  for (uint32_t i = 0; i < driver->poll_limit; i++) {
    if ((read16(driver, E1000E_HSFSTS) & mask) == value) return true;
  }
  return false;
}

// FDONE = 0 is the defined start. If it is set later, this driver's cycle has set it.
static e1000e_result start_from_idle(const e1000e_driver *driver) {
  if (!(read16(driver, E1000E_HSFSTS) & E1000E_FDV)) return E1000E_NO_DESCRIPTOR;
  write16(driver, E1000E_HSFSTS, E1000E_FCERR | E1000E_AEL);
  if (!wait_for(driver, E1000E_SCIP, 0)) return E1000E_BUSY;
  write16(driver, E1000E_HSFSTS, E1000E_FDONE);
  return E1000E_OK;
}

static e1000e_result try_cycle(const e1000e_driver *driver, request *it) {
  e1000e_result idle = start_from_idle(driver);
  if (idle != E1000E_OK) return idle;
  uint16_t control = (uint16_t)((it->count - 1) << E1000E_FDBC_SHIFT | it->kind);
  write16(driver, E1000E_HSFCTL, control);
  write32(driver, E1000E_FADDR, it->address);
  if (it->kind == E1000E_FCYCLE_WRITE) write32(driver, E1000E_FDATA0, it->data);
  write16(driver, E1000E_HSFCTL, read16(driver, E1000E_HSFCTL) | E1000E_FGO);
  if (driver->started) driver->started(driver->context);
  bool done = wait_for(driver, E1000E_FDONE, E1000E_FDONE);
  if (read16(driver, E1000E_HSFSTS) & E1000E_FCERR) return E1000E_CYCLE_ERROR;
  if (!done) return E1000E_TIMED_OUT;
  if (it->kind == E1000E_FCYCLE_READ) it->data = read32(driver, E1000E_FDATA0);
  return E1000E_OK;
}

// A cycle error is tried again, a time-out is not: the 2.6.27 driver did the same.
static e1000e_result run(const e1000e_driver *driver, request *it) {
  e1000e_result result = E1000E_CYCLE_ERROR;
  for (int i = 0; i < CYCLE_TRIES && result == E1000E_CYCLE_ERROR; i++) {
    result = try_cycle(driver, it);
  }
  return result;
}

static uint32_t linear(const e1000e_driver *driver, uint32_t bank, uint32_t offset) {
  return driver->nvm_offset + bank * driver->bank_size + offset;
}

static e1000e_result read_bytes(const e1000e_driver *driver, uint32_t bank, uint32_t offset,
                                unsigned count, uint32_t *data) {
  request it = {E1000E_FCYCLE_READ, linear(driver, bank, offset), count, 0};
  e1000e_result result = run(driver, &it);
  *data = it.data;
  return result;
}

static bool in_bank(const e1000e_driver *driver, uint32_t bank, uint64_t offset, uint64_t count) {
  return bank < 2 && offset + count <= driver->bank_size;
}

e1000e_result e1000e_driver_write_bytes(e1000e_driver *driver, uint32_t bank, uint32_t offset,
                                        const uint8_t *bytes, size_t count) {
  if (count > driver->bank_size || !in_bank(driver, bank, offset, count)) return E1000E_BAD_RANGE;
  for (uint32_t i = 0; i < count; i++) {
    request it = {E1000E_FCYCLE_WRITE, linear(driver, bank, offset + i), 1, bytes[i]};
    e1000e_result result = run(driver, &it);
    if (result != E1000E_OK) return result;
  }
  return E1000E_OK;
}

e1000e_result e1000e_driver_erase_block(e1000e_driver *driver, uint32_t bank, uint32_t offset) {
  if (!in_bank(driver, bank, offset, 1)) return E1000E_BAD_RANGE;
  request it = {E1000E_FCYCLE_ERASE, linear(driver, bank, offset), 1, 0};
  return run(driver, &it);
}

// The NVM.

// `bank` is 0 where no bank is valid, as the 2.6.27 driver assumed.
static e1000e_result valid_bank(const e1000e_driver *driver, uint32_t *bank, bool *valid) {
  for (uint32_t i = 0; i < 2; i++) {
    uint32_t signature;
    e1000e_result result = read_bytes(driver, i, SIGNATURE_BYTE, 1, &signature);
    if (result != E1000E_OK) return result;
    *bank = i;
    *valid = (signature & SIGNATURE_MASK) == SIGNATURE_VALID;
    if (*valid) return E1000E_OK;
  }
  *bank = 0;
  return E1000E_OK;
}

e1000e_result e1000e_driver_read_words(e1000e_driver *driver, uint32_t first, size_t count,
                                       uint16_t *words) {
  if (count > driver->bank_size || !in_bank(driver, 0, 2 * (uint64_t)first, 2 * count)) {
    return E1000E_BAD_RANGE;
  }
  uint32_t bank, data;
  bool valid;
  e1000e_result result = valid_bank(driver, &bank, &valid);
  for (uint32_t i = 0; i < count && result == E1000E_OK; i++) {
    result = read_bytes(driver, bank, 2 * (first + i), 2, &data);
    if (result == E1000E_OK) words[i] = (uint16_t)data;
  }
  return result;
}

static e1000e_result erase_bank(e1000e_driver *driver, uint32_t bank) {
  static const uint32_t block_sizes[] = {256, 4096, 8192, 65536};
  uint32_t block = block_sizes[read16(driver, E1000E_HSFSTS) >> 3 & 3];
  e1000e_result result = E1000E_OK;
  for (uint32_t at = 0; at < driver->bank_size && result == E1000E_OK; at += block) {
    result = e1000e_driver_erase_block(driver, bank, at);
  }
  return result;
}

// Writes all of the image except the signature, and then makes it valid by one write cycle: 11b to
// 10b clears a bit, and a write can only clear bits.
static e1000e_result fill_bank(e1000e_driver *driver, uint32_t bank, const uint16_t *image) {
  uint8_t bytes[2 * E1000E_NVM_WORDS];
  memcpy(bytes, image, sizeof bytes);
  uint8_t signature = bytes[SIGNATURE_BYTE];
  bytes[SIGNATURE_BYTE] |= SIGNATURE_MASK;
  e1000e_result result = e1000e_driver_write_bytes(driver, bank, 0, bytes, sizeof bytes);
  if (result != E1000E_OK) return result;
  return e1000e_driver_write_bytes(driver, bank, SIGNATURE_BYTE, &signature, 1);
}

e1000e_result e1000e_driver_commit(e1000e_driver *driver,
                                   const uint16_t image[E1000E_NVM_WORDS]) {
  uint16_t balanced[E1000E_NVM_WORDS];
  memcpy(balanced, image, sizeof balanced);
  balanced[SIGNATURE_WORD] = (balanced[SIGNATURE_WORD] & 0x3fff) | SIGNATURE_VALID << 8;
  e1000e_balance(balanced);
  uint32_t old;
  bool valid;
  e1000e_result result = valid_bank(driver, &old, &valid);
  if (result != E1000E_OK) return result;
  uint32_t target = valid ? 1 - old : 0;
  result = erase_bank(driver, target);
  if (result == E1000E_OK) result = fill_bank(driver, target, balanced);
  if (result != E1000E_OK) return result;
  static const uint8_t invalid = 0;
  return e1000e_driver_write_bytes(driver, 1 - target, SIGNATURE_BYTE, &invalid, 1);
}

e1000e_result e1000e_driver_validate(e1000e_driver *driver, uint16_t *sum) {
  if (sum) *sum = 0;
  for (int i = 0; i < CHECKSUM_TRIES; i++) {
    uint16_t words[E1000E_NVM_WORDS], total = 0;
    if (e1000e_driver_read_words(driver, 0, E1000E_NVM_WORDS, words) != E1000E_OK) continue;
    for (int word = 0; word < E1000E_NVM_WORDS; word++) total = (uint16_t)(total + words[word]);
    if (sum) *sum = total;
    if (total == E1000E_NVM_SUM) return E1000E_OK;
  }
  return E1000E_BAD_CHECKSUM;
}

e1000e_result e1000e_driver_write_protect(e1000e_driver *driver) {
  uint32_t range = read32(driver, E1000E_GFPREG);
  uint32_t protection = (range & (UNIT_MASK | UNIT_MASK << 16)) | E1000E_WPE;
  write32(driver, E1000E_PR0, protection);
  write16(driver, E1000E_HSFSTS, E1000E_FLOCKDN);
  bool kept = read32(driver, E1000E_PR0) == protection &&
              (read16(driver, E1000E_HSFSTS) & E1000E_FLOCKDN);
  return kept ? E1000E_OK : E1000E_NOT_LOCKED;
}

e1000e_result e1000e_driver_init(e1000e_driver *driver, volatile void *registers) {
  *driver = (e1000e_driver){.registers = registers, .poll_limit = DEFAULT_POLL_LIMIT};
  uint32_t range = read32(driver, E1000E_GFPREG);
  uint32_t base = range & UNIT_MASK, limit = range >> 16 & UNIT_MASK;
  if (limit < base) return E1000E_BAD_RANGE;
  driver->nvm_offset = base << UNIT_SHIFT;
  driver->bank_size = ((limit + 1 - base) << UNIT_SHIFT) / 2;
  return start_from_idle(driver);
}

const char *e1000e_result_text(e1000e_result result) {
  switch (result) {
    case E1000E_OK: return "done";
    case E1000E_NO_DESCRIPTOR: return "the flash descriptor is not valid (FDV = 0)";
    case E1000E_BUSY: return "the flash stayed busy (SCIP = 1)";
    case E1000E_TIMED_OUT: return "the flash cycle timed out (FDONE = 0)";
    case E1000E_CYCLE_ERROR: return "the flash refused the cycle (FCERR = 1)";
    case E1000E_BAD_RANGE: return "the range is not inside the NVM's bank";
    case E1000E_BAD_CHECKSUM: return "The NVM Checksum Is Not Valid";
    case E1000E_NOT_LOCKED: return "the write protection did not hold (PR0, FLOCKDN)";
  }
  return "unknown result";
}
