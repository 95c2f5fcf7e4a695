// SPDX-License-Identifier: Apache-2.0
//
// The registers' rules and the flash cycles. This runs in the signal handlers of watch.c, so
// nothing here allocates or waits after e1000e_create.

#include "e1000e.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "watch.h"

enum {
  REGISTERS_END = 0x78,
  SECTOR = 4096,            // the unit of GFPREG, FREGn and PR0
  REGIONS = 5,
  GBE_REGION = 3,           // FREG3 is the GbE region's
  WRITE_1_TO_CLEAR = E1000E_FDONE | E1000E_FCERR | E1000E_AEL,
  HSFCTL_WRITABLE = 0x0306, // FDBC, FCYCLE; FGO reads 0
};
static const uint32_t faddr_writable = 0x00ffffff;
static const uint32_t pr0_writable = 0x9fff9fff;

struct e1000e {
  uint8_t *page;
  e1000e_options options;
  e1000e_counts counts;
  uint8_t registers[REGISTERS_END];
  uint32_t busy_reads_left;  // of the cycle in progress
  uint8_t flash[E1000E_FLASH_SIZE];
};

static uint32_t load(const e1000e *device, unsigned offset, unsigned width) {
  uint32_t value = 0;
  memcpy(&value, device->registers + offset, width);
  return value;
}

static void store(e1000e *device, unsigned offset, unsigned width, uint32_t value) {
  memcpy(device->registers + offset, &value, width);
}

static uint32_t status(const e1000e *device) { return load(device, E1000E_HSFSTS, 2); }

static void set_status(e1000e *device, uint32_t bits) {
  store(device, E1000E_HSFSTS, 2, status(device) | bits);
}

static void refuse(e1000e *device) {
  set_status(device, E1000E_FCERR);
  device->counts.refused++;
}

// Cycles.

typedef struct cycle {
  uint32_t kind;         // FCYCLE in its place
  uint32_t start, end;   // flash bytes, end exclusive
} cycle;

static cycle programmed_cycle(const e1000e *device) {
  uint32_t control = load(device, E1000E_HSFCTL, 2);
  uint32_t address = load(device, E1000E_FADDR, 4);
  cycle it = {.kind = control & E1000E_FCYCLE_ERASE, .start = address};
  it.end = address + (control >> E1000E_FDBC_SHIFT & 3) + 1;
  if (it.kind == E1000E_FCYCLE_ERASE) {
    it.start = address & ~(uint32_t)(SECTOR - 1);
    it.end = it.start + SECTOR;
  }
  return it;
}

// Whether sectors base...limit of a register (GFPREG, FREGn and PR0 have the same form) overlap it.
static bool meets(cycle it, uint32_t range) {
  uint32_t base = range & 0x1fff, limit = range >> 16 & 0x1fff;
  return it.start / SECTOR <= limit && (it.end - 1) / SECTOR >= base;
}

static bool protected_by_pr0(const e1000e *device, cycle it) {
  uint32_t range = load(device, E1000E_PR0, 4);
  uint32_t kind = it.kind == E1000E_FCYCLE_READ ? E1000E_RPE : E1000E_WPE;
  return (range & kind) && meets(it, range);
}

static bool granted(const e1000e *device, cycle it) {
  uint32_t access = load(device, E1000E_FRAP, 4);
  if (it.kind != E1000E_FCYCLE_READ) access >>= 8;
  for (unsigned region = 0; region < REGIONS; region++) {
    uint32_t range = load(device, E1000E_FREG0 + 4 * region, 4);
    if (meets(it, range) && !(access >> region & 1)) return false;
  }
  return it.end <= E1000E_FLASH_SIZE;
}

static void run(e1000e *device) {
  cycle it = programmed_cycle(device);
  uint32_t data = load(device, E1000E_FDATA0, 4);
  switch (it.kind) {
    case E1000E_FCYCLE_READ:
      data = 0;
      memcpy(&data, device->flash + it.start, it.end - it.start);
      store(device, E1000E_FDATA0, 4, data);
      break;
    case E1000E_FCYCLE_WRITE:
      for (uint32_t at = it.start; at < it.end; at++, data >>= 8) device->flash[at] &= data;
      break;
    case E1000E_FCYCLE_ERASE:
      memset(device->flash + it.start, 0xff, it.end - it.start);
      device->counts.erases++;
      break;
  }
  device->counts.cycles++;
  store(device, E1000E_HSFSTS, 2, (status(device) & ~(uint32_t)E1000E_SCIP) | E1000E_FDONE);
}

static void go(e1000e *device) {
  cycle it = programmed_cycle(device);
  bool reserved = it.kind == 1 << 1;
  if (reserved || protected_by_pr0(device, it) || !granted(device, it)) return refuse(device);
  device->busy_reads_left = device->options.busy_reads;
  if (device->busy_reads_left == 0) return run(device);
  set_status(device, E1000E_SCIP);
}

// Registers. `mask` has ones at the bits that the write carries.

static void write_status(e1000e *device, uint32_t value, uint32_t mask) {
  value &= mask;
  uint32_t now = status(device) & ~(value & WRITE_1_TO_CLEAR);
  store(device, E1000E_HSFSTS, 2, now | (value & E1000E_FLOCKDN));
}

static void write_bits(e1000e *device, unsigned offset, unsigned width, uint32_t value,
                       uint32_t mask) {
  uint32_t now = load(device, offset, width);
  store(device, offset, width, (now & ~mask) | (value & mask));
}

static void write_register(e1000e *device, unsigned offset, uint32_t value, uint32_t mask) {
  switch (offset) {
    case E1000E_HSFSTS: write_status(device, value, mask); break;
    case E1000E_HSFCTL:
      write_bits(device, offset, 2, value, mask & HSFCTL_WRITABLE);
      if (value & mask & E1000E_FGO) go(device);
      break;
    case E1000E_FADDR: write_bits(device, offset, 4, value, mask & faddr_writable); break;
    case E1000E_FDATA0: write_bits(device, offset, 4, value, mask); break;
    case E1000E_PR0:
      if (status(device) & E1000E_FLOCKDN) break;
      write_bits(device, offset, 4, value, mask & pr0_writable);
      break;
  }
}

// One write of `width` bytes reaches each register that it covers, lowest offset first. So HSFCTL
// acts on a status that the same write has already changed.
static void write_bytes(e1000e *device, unsigned offset, const uint8_t *bytes, unsigned width) {
  static const struct { uint8_t offset, width; } writable[] = {
    {E1000E_HSFSTS, 2}, {E1000E_HSFCTL, 2}, {E1000E_FADDR, 4}, {E1000E_FDATA0, 4}, {E1000E_PR0, 4},
  };
  if (status(device) & E1000E_SCIP) return refuse(device);
  for (size_t i = 0; i < sizeof writable / sizeof *writable; i++) {
    uint32_t value = 0, mask = 0;
    for (unsigned byte = 0; byte < writable[i].width; byte++) {
      unsigned at = writable[i].offset + byte;
      if (at < offset || at >= offset + width) continue;
      value |= (uint32_t)bytes[at - offset] << 8 * byte;
      mask |= (uint32_t)0xff << 8 * byte;
    }
    if (mask) write_register(device, writable[i].offset, value, mask);
  }
}

// The watch's hooks.

static void before(void *context, const nul_access *access) {
  e1000e *device = context;
  memcpy(device->page, device->registers, REGISTERS_END);
  memset(device->page + REGISTERS_END, 0, E1000E_BLOCK_SIZE - REGISTERS_END);
  (void)access;
}

static void after_read(e1000e *device, const nul_access *access) {
  uint64_t offset = access->offset;
  bool status_read = offset < E1000E_HSFCTL && offset + access->width > E1000E_HSFSTS;
  if (access->is_write || !status_read || !(status(device) & E1000E_SCIP)) return;
  if (--device->busy_reads_left == 0) run(device);
}

static void after(void *context, const nul_access *access) {
  e1000e *device = context;
  device->counts.reads += access->is_read;
  device->counts.writes += access->is_write;
  after_read(device, access);
  if (!access->is_write) return;
  uint8_t bytes[UINT8_MAX];
  memcpy(bytes, device->page + access->offset, access->width);
  bool failed = access->locked && access->compare_failed;
  device->counts.failed_compares += failed;
  if (failed && device->options.write_back == E1000E_WRITE_BACK_ONES) {
    memset(bytes, 0xff, access->width);
  }
  write_bytes(device, (unsigned)access->offset, bytes, access->width);
}

// Creating the device and reading its state.

static void reset(e1000e *device) {
  uint32_t gbe = 1 | 2 << 16, none = 0x1fff;  // a base above its limit: no such region
  uint32_t regions[REGIONS] = {0, 3 | 15 << 16, none, gbe, none};
  uint32_t hsfsts = E1000E_BERASE_4K | (device->options.without_descriptor ? 0 : E1000E_FDV);
  store(device, E1000E_GFPREG, 4, gbe);
  store(device, E1000E_HSFSTS, 2, hsfsts);
  store(device, E1000E_FRAP, 4, (1 << GBE_REGION) << 8 | 1 << GBE_REGION);
  for (unsigned i = 0; i < REGIONS; i++) store(device, E1000E_FREG0 + 4 * i, 4, regions[i]);
  uint16_t image[E1000E_NVM_WORDS];
  e1000e_make_image(image);
  memset(device->flash, 0xff, sizeof device->flash);
  memcpy(device->flash + E1000E_NVM_OFFSET, image, sizeof image);
}

e1000e *e1000e_create(void *page, const e1000e_options *options, int *error) {
  e1000e *device = calloc(1, sizeof *device);
  int failed = device ? 0 : ENOMEM;
  if (device) {
    device->page = page;
    device->options = *options;
    reset(device);
    nul_watch_hooks hooks = {.before = before, .after = after, .context = device};
    failed = nul_watch_start(page, E1000E_BLOCK_SIZE, PROT_NONE, hooks);
  }
  if (failed) {
    free(device);
    device = NULL;
  }
  if (error) *error = failed;
  return device;
}

void e1000e_destroy(e1000e *device) {
  if (!device) return;
  nul_watch_stop(PROT_READ | PROT_WRITE);
  free(device);
}

e1000e_counts e1000e_read_counts(const e1000e *device) { return device->counts; }
const uint8_t *e1000e_flash(const e1000e *device) { return device->flash; }

uint32_t e1000e_peek(const e1000e *device, unsigned offset, unsigned width) {
  if (width > 4 || offset > REGISTERS_END - width) return 0;
  return load(device, offset, width);
}
