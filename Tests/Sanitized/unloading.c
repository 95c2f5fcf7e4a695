// SPDX-License-Identifier: Apache-2.0
//
// The 2.6.27 engine on memory of this program, and the model of the network card with its driver.
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "CUnloadLab.h"
#include "accesses.h"
#include "check.h"
#include "checks.h"

static const uint8_t nop[5] = {0x0f, 0x1f, 0x44, 0x00, 0x00};

void mcount(void);

static void put_call(uint8_t *at, const void *target) {
  int32_t displacement = (int32_t)((const uint8_t *)target - (at + 5));
  at[0] = 0xe8;
  memcpy(at + 1, &displacement, sizeof displacement);
}

// `count` functions of 16 bytes: push rbp; mov rbp, rsp; call stub; pop rbp; ret. The stub is in
// front of them and jumps to mcount.
static uint8_t *make_text(size_t count) {
  size_t size = (count * 16 + 16 + 4095) & ~(size_t)4095;
  uint8_t *text =
      mmap(NULL, size, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (text == MAP_FAILED) abort();
  static const uint8_t jump[6] = {0xff, 0x25, 0, 0, 0, 0};
  void (*target)(void) = mcount;
  memcpy(text, jump, 6);
  memcpy(text + 6, &target, sizeof target);
  for (size_t i = 1; i <= count; i++) {
    static const uint8_t function[16] = {0x55, 0x48, 0x89, 0xe5, 0, 0, 0, 0, 0, 0x5d, 0xc3};
    memcpy(text + 16 * i, function, sizeof function);
    put_call(text + 16 * i + 4, text);
  }
  return text;
}

typedef void plain_function(void);
static void call(uint8_t *text, size_t i) { ((plain_function *)(text + 16 * i))(); }

static void check_version(int version) {
  enum { COUNT = 300 };
  uint8_t *text = make_text(COUNT);
  nul_daemon_options options = {.version = version, .interval_microseconds = 60000000,
                                .stop_timeout_milliseconds = 5000};
  const char *step = NULL;
  CHECK(nul_daemon_attach(&options, &step) == 0);
  uint64_t start = (uint64_t)text, end = start + ((COUNT * 16 + 16 + 4095) & ~4095ull);
  CHECK(nul_text_register(start, end, start) == 0);
  for (size_t i = 1; i <= COUNT; i++) call(text, i);
  CHECK(nul_daemon_wait_cycle(20000, true));
  for (size_t i = 1; i <= COUNT; i++) CHECK(memcmp(text + 16 * i + 4, nop, 5) == 0);
  CHECK(nul_tracer_start() == 0);
  for (size_t i = 1; i <= COUNT; i++) call(text, i);
  nul_daemon_stats stats;
  nul_daemon_get_stats(&stats);
  CHECK(stats.records == COUNT && stats.conversions == COUNT && stats.traced_calls >= COUNT);
  CHECK(nul_record_mark(start + 16 + 4, NUL_FILTER, true));
  CHECK(nul_tracer_start() == 0);
  CHECK(nul_tracer_stop() == 0);
  for (size_t i = 1; i <= COUNT; i++) CHECK(memcmp(text + 16 * i + 4, nop, 5) == 0);
  CHECK(nul_release(start, end) == COUNT);
  nul_daemon_get_stats(&stats);
  CHECK(stats.records == 0 && stats.released == COUNT);
  CHECK(nul_daemon_detach() == 0 && nul_daemon_detach() != 0);
  munmap(text, end - start);
}

void check_daemon(void) {
  for (int version = NUL_SHIPPED; version <= NUL_ZAPPED; version++) check_version(version);
}

// The three results of the patch primitive: done, other bytes found, no memory there.
void check_patch_code(void) {
  const char *step = NULL;
  nul_daemon_options options = {.interval_microseconds = 60000000};
  CHECK(nul_daemon_attach(&options, &step) == 0 && nul_daemon_detach() == 0);
  uint8_t *text = make_text(1), expected[5];
  uint32_t found = 0;
  memcpy(expected, text + 20, 5);
  CHECK(nul_patch_code(text + 20, expected, nop, &found) == NUL_PATCH_DONE);
  CHECK(memcmp(text + 20, nop, 5) == 0);
  text[20] = 0x90;
  CHECK(nul_patch_code(text + 20, expected, nop, &found) == NUL_PATCH_MISMATCH);
  munmap(text, 4096);
  CHECK(nul_patch_code(text + 20, expected, nop, &found) == NUL_PATCH_FAULTED);
}

static uint64_t befores, afters;
static void before(void *context, const nul_access *access) {
  (void)context, (void)access;
  befores++;
}
static void after(void *context, const nul_access *access) {
  (void)context, (void)access;
  afters++;
}

void check_watch(void) {
  uint8_t *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  nul_watch_hooks hooks = {before, after, NULL};
  CHECK(nul_watch_start(page + 1, 4096, PROT_NONE, hooks) != 0);
  CHECK(nul_watch_start(page, 8192, PROT_NONE, hooks) == 0);
  cts_store32(page + 4094, 0x01020304);  // both pages
  CHECK(cts_load64(page + 4092) >> 16 == 0x01020304);
  CHECK(cts_lock_cmpxchg32(page + 8, 1, 2) == 0);
  cts_copy_bytes(page + 100, page + 4094, 4);
  CHECK(nul_watch_stop(PROT_READ | PROT_WRITE) == 0);
  nul_watch_counts counts = nul_watch_read_counts();
  CHECK(counts.faults == befores && befores == afters && counts.reads >= 2 && counts.writes >= 2);
  nul_access access;
  CHECK(nul_watch_logged(0, &access) && access.is_write && access.width == 4);
  CHECK(!nul_watch_logged(NUL_WATCH_LOG, &access));
  CHECK(page[100] == 4);
  munmap(page, 8192);
}

void check_flash(void) {
  uint8_t *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  uint16_t image[E1000E_NVM_WORDS], words[E1000E_NVM_WORDS];
  e1000e_make_image(image);
  for (int busy = 0; busy < 3; busy++) {
    e1000e_options options = {.write_back = E1000E_WRITE_BACK_ONES, .busy_reads = (uint32_t)busy};
    int error = 0;
    e1000e *device = e1000e_create(page, &options, &error);
    CHECK(device != NULL && error == 0);
    if (device == NULL) break;
    e1000e_driver driver;
    CHECK(e1000e_driver_init(&driver, page) == E1000E_OK);
    CHECK(e1000e_driver_read_words(&driver, 0, E1000E_NVM_WORDS, words) == E1000E_OK);
    CHECK(memcmp(words, image, sizeof image) == 0);
    CHECK(e1000e_driver_read_words(&driver, UINT32_MAX, 2, words) == E1000E_BAD_RANGE);
    words[0x10] ^= 0x55;
    CHECK(e1000e_driver_commit(&driver, words) == E1000E_OK);
    CHECK(e1000e_driver_validate(&driver, NULL) == E1000E_OK);
    CHECK(e1000e_driver_write_protect(&driver) == E1000E_OK);
    CHECK(e1000e_driver_erase_block(&driver, 0, 0) != E1000E_OK);
    // Every register, in every width, up to the block's last byte.
    for (unsigned offset = 0; offset + 4 <= E1000E_BLOCK_SIZE; offset += 61) {
      cts_store32(page + offset, 0xffffffff);
      cts_load64(page + (offset & 0xff8));
    }
    cts_store8(page + E1000E_BLOCK_SIZE - 1, 1);
    e1000e_destroy(device);
  }
  munmap(page, 4096);
}
