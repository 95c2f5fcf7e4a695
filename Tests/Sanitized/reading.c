// SPDX-License-Identifier: Apache-2.0
//
// The decoder and the demangler on bytes and names of all kinds, in buffers of exactly their size.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "CDemangle.h"
#include "CMachineCode.h"
#include "check.h"
#include "checks.h"

static uint64_t random_state = 0x9e3779b97f4a7c15;
static uint64_t next_random(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  return random_state ^= random_state << 17;
}

// A copy of exactly this length: a sanitizer sees a load of one byte more.
static void decode_exact(nmc_decoder *decoder, const uint8_t *bytes, size_t length) {
  uint8_t *exact = malloc(length ? length : 1);
  memcpy(exact, bytes, length);
  nmc_instruction instruction;
  nmc_access access;
  uint64_t address = next_random();
  if (nmc_decode(decoder, exact, length, address, &instruction)) {
    CHECK(instruction.length >= 1 && instruction.length <= length);
    CHECK(nmc_confirms(decoder, instruction.kind, instruction.length, instruction.target, address,
                       exact));
    CHECK(!nmc_confirms(decoder, instruction.kind, instruction.length, instruction.target + 1,
                        address, exact));
    CHECK(strlen(nmc_mnemonic(decoder)) > 0);
  }
  if (nmc_decode_access(decoder, exact, length, address, &access))
    CHECK(access.length <= length && access.width <= 64);
  free(exact);
}

void check_decoder(void) {
  nmc_decoder *decoder = nmc_decoder_create(NULL);
  CHECK(decoder != NULL);
  static const uint8_t starts[][2] = {{0xe8, 0}, {0xff, 0x15}, {0x67, 0xe8}, {0x0f, 0x1f},
                                      {0xff, 0x25}, {0xf3, 0x0f}, {0xf0, 0x0f}, {0x66, 0x90}};
  for (int i = 0; i < 20000; i++) {
    uint8_t bytes[16];
    for (int j = 0; j < 16; j += 8) {
      uint64_t word = next_random();
      memcpy(bytes + j, &word, sizeof word);
    }
    if (i % 2) memcpy(bytes, starts[next_random() % 8], 2);
    decode_exact(decoder, bytes, next_random() % 16);
  }
  nmc_decoder_destroy(decoder);
  nmc_decoder_destroy(NULL);
}

static void demangle_into(const char *name, size_t capacity, const char *expected) {
  char *exact = malloc(capacity ? capacity : 1);
  size_t length = ndem_demangle(name, exact, capacity);
  CHECK(length == 0 || (length < capacity && strlen(exact) == length));
  if (expected) CHECK(length == strlen(expected) && strcmp(exact, expected) == 0);
  free(exact);
}

void check_demangler(void) {
  static const struct { const char *name, *text; } known[] = {
    {"_ZN2ns1fEi", "ns::f(int)"},
    {"$s3foo3barSiyF", "foo.bar() -> Swift.Int"},
    {"_ZNSt6vectorIiSaIiEE9push_backEOi",
     "std::vector<int, std::allocator<int> >::push_back(int&&)"},
    {"_RNvMsr_NtCs3ssYzQotkvD_3std4pathNtB5_7PathBuf3newCs15kBYyAo9fc_7mycrate",
     "<std::path::PathBuf>::new"},
    {"_RINvC1au9bcher_kvaFKCmEiKc7_Klnff_E", "a::b\xc3\xbc" "cher::<extern \"C\" fn(u32) -> isize, "
     "'\\u{7}', -255>"},
    {"_ZN42_$LT$$RF$T$u20$as$u20$core..fmt..Debug$GT$3fmt17h0f8ce7ab1de5bd6fE.llvm.7",
     "<&T as core::fmt::Debug>::fmt"},
    {"", NULL}, {"_Z", NULL}, {"$s", NULL}, {"main", NULL}, {"_ZN", NULL}, {"_T0", NULL},
    {"_R", NULL}, {"_RNvB_1f", NULL},
  };
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
    demangle_into(known[i].name, 4096, known[i].text);
    for (size_t capacity = 0; capacity < 70; capacity++)
      demangle_into(known[i].name, capacity, NULL);
  }
  // Each parameter prints twice as much as the one before it. The printed text has a limit.
  char bomb[512] = "_Z1f1AIiiE";
  for (int i = 0; i < 30; i++) {
    char part[32], back[8] = "S_";
    if (i > 0) snprintf(back, sizeof back, "S%c_", "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[i - 1]);
    snprintf(part, sizeof part, "S_I%s%sE", back, back);
    strcat(bomb, part);
  }
  demangle_into(bomb, 16384, NULL);
  // The same in Rust: each tuple has the one before it twice.
  char tuples[1024] = "_RINvC1a1fThhE";
  for (int i = 0, place = 8; i < 60; i++) {
    int next = (int)strlen(tuples) - 2;
    static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    char high[2] = {place > 62 ? digits[(place - 1) / 62] : 0, 0};
    char back[8];
    snprintf(back, sizeof back, "B%s%c_", high, digits[(place - 1) % 62]);
    strcat(strcat(strcat(strcat(tuples, "T"), back), back), "E");
    place = next;
  }
  demangle_into(strcat(tuples, "E"), 16384, NULL);
  for (int i = 0; i < 30000; i++) {
    static const char *const starts[] = {"_Z", "_ZN", "$s", "$S", "_T0", "_ZNK", "_Z1fI", "_R",
                                         "_RNvC1a", "_RINvC1a1f", "_RNvXC1a", "_RNvC1au9b_"};
    static const char letters[] = "SIENKR0123456789_TLXJZFabcdefgimoplvyAa$";
    char name[80];
    size_t length = (size_t)snprintf(name, sizeof name, "%s", starts[next_random() % 12]);
    while (length < 8 + next_random() % 70) name[length++] = letters[next_random() % 40];
    name[length] = 0;
    demangle_into(name, next_random() % 300, NULL);
  }
}
