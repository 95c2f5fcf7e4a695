// SPDX-License-Identifier: Apache-2.0
//
// Functions whose call of mcount falls on a register of the e1000e flash block when the block is
// mapped where this page was:
//
//   +0  55              push  %rbp
//   +1  48 89 e5        mov   %rsp, %rbp
//   +4  e8 xx xx xx xx  call  mcount@plt     <- 0x04, 0x14, ... 0x74 of the page
//   +9  5d              pop   %rbp
//   +a  c3              ret, then five bytes up to the next slot
//
// A section of its own keeps the functions together and in this order, whatever the other files
// contain. SpecimenTests reads the built file and checks each offset.

#include "specimen.h"

#define SECTION ".text.flash_page"
#define FIRST_OF_PAGE __attribute__((section(SECTION), aligned(4096)))
#define SLOT __attribute__((section(SECTION), aligned(16)))

FIRST_OF_PAGE void specimen_at_hsfsts(void) {}
SLOT void specimen_filler_14(void) {}
SLOT void specimen_filler_24(void) {}
SLOT void specimen_filler_34(void) {}
SLOT void specimen_filler_44(void) {}
SLOT void specimen_at_freg0(void) {}
SLOT void specimen_filler_64(void) {}
SLOT void specimen_at_pr0(void) {}

// Ends the page, so that no other site of the module falls on the block.
FIRST_OF_PAGE void specimen_after_flash_page(void) {}
