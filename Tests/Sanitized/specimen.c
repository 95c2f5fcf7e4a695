// SPDX-License-Identifier: Apache-2.0
#include "specimen.h"

#include <stdlib.h>
#include <string.h>

#include "CMachineCode.h"

uint64_t spec_site(unsigned i) {
  // Each function has 16 bytes, and 16 more if its site was moved to the end of its block.
  uint64_t at = (uint64_t)spec_begin + 16ull * i + 16ull * (i / 16);
  return i % 16 == 15 ? at + 15 : at;
}

npc_poke spec_arm(uint64_t address, const void *entry) {
  npc_poke poke = {.address = address, .length = 5, .expected_kind = NIK_NOP,
                   .expected = {0x0f, 0x1f, 0x44, 0x00, 0x00}, .replacement = {0xe8}};
  int32_t displacement = (int32_t)((int64_t)(uint64_t)entry - (int64_t)(address + 5));
  memcpy(poke.replacement + 1, &displacement, sizeof displacement);
  return poke;
}

npc_poke spec_disarm(npc_poke armed) {
  npc_poke back = armed;
  int32_t displacement;
  memcpy(back.expected, armed.replacement, sizeof back.expected);
  memcpy(back.replacement, armed.expected, sizeof back.replacement);
  memcpy(&displacement, armed.replacement + 1, sizeof displacement);
  back.expected_kind = NIK_CALL;
  back.target = armed.address + 5 + (uint64_t)(int64_t)displacement;
  back.flags = 0;
  return back;
}

npc_transaction spec_transaction(const npc_poke *pokes, size_t count, int protocol, int writer) {
  static nmc_decoder *decoder;
  if (decoder == NULL) decoder = nmc_decoder_create(NULL);
  static npc_module_copy program;
  if (program.build_id_length == 0) npc_modules_copy(&program, 1);
  if (decoder == NULL || program.build_id_length == 0) abort();
  return (npc_transaction){
    .pokes = pokes, .count = count, .load_bias = program.load_bias,
    .build_id = program.build_id, .build_id_length = program.build_id_length,
    .protocol = protocol, .writer = writer, .verify = nmc_confirms, .verifier = decoder,
  };
}
