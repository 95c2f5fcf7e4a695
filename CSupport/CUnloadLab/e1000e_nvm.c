// SPDX-License-Identifier: Apache-2.0
//
// The NVM's contents: an image, its balance, and a bank read directly.

#include <string.h>

#include "e1000e.h"

enum { SIGNATURE_WORD = 0x13, BALANCE_WORD = 0x3f };

static uint16_t sum(const uint16_t *words, unsigned count) {
  uint16_t total = 0;
  for (unsigned i = 0; i < count; i++) total = (uint16_t)(total + words[i]);
  return total;
}

void e1000e_balance(uint16_t image[E1000E_NVM_WORDS]) {
  image[BALANCE_WORD] = (uint16_t)(E1000E_NVM_SUM - sum(image, BALANCE_WORD));
}

void e1000e_make_image(uint16_t image[E1000E_NVM_WORDS]) {
  static const uint16_t head[] = {
    // A locally administered MAC address, 02:00:5e:00:53:01, low byte first in each word.
    0x0002, 0x005e, 0x0153,
  };
  static const uint16_t ids[] = {
    // Word 0x0A: initialisation control; then subsystem, subsystem vendor, device (82567LM),
    // vendor.
    0x10c3, 0x0000, 0x8086, 0x10f5, 0x8086,
  };
  memset(image, 0xff, sizeof(uint16_t) * E1000E_NVM_WORDS);
  memcpy(image, head, sizeof head);
  memcpy(image + 0x0a, ids, sizeof ids);
  image[SIGNATURE_WORD] = 0xb5ff;  // bits 15:14 are 10b: the bank is valid
  e1000e_balance(image);
}

static void read_bank(const e1000e *device, unsigned bank, uint16_t words[E1000E_NVM_WORDS]) {
  const uint8_t *start = e1000e_flash(device) + E1000E_NVM_OFFSET + bank % 2 * E1000E_BANK_SIZE;
  memcpy(words, start, sizeof(uint16_t) * E1000E_NVM_WORDS);
}

uint16_t e1000e_bank_sum(const e1000e *device, unsigned bank) {
  uint16_t words[E1000E_NVM_WORDS];
  read_bank(device, bank, words);
  return sum(words, E1000E_NVM_WORDS);
}

bool e1000e_bank_valid(const e1000e *device, unsigned bank) {
  uint16_t words[E1000E_NVM_WORDS];
  read_bank(device, bank, words);
  return words[SIGNATURE_WORD] >> 14 == 2;
}
