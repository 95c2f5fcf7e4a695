// SPDX-License-Identifier: Apache-2.0
#include "CMachineCode.h"

#include <stdlib.h>
#include <string.h>

#include "capstone_library.h"

// Capstone's numbers for the instructions that a patcher distinguishes. They differ between
// versions.
typedef struct known_ids {
  unsigned nop, ret, call, jump;
} known_ids;

struct nmc_decoder {
  const nmc_capstone *capstone;
  csh plain;         // detail off: half the time
  csh detailed;      // for memory accesses only
  cs_insn *plain_insn;
  cs_insn *detailed_insn;
  const cs_insn *last;
  known_ids ids;
};

void nmc_decoder_destroy(nmc_decoder *decoder) {
  if (decoder == NULL) return;
  const nmc_capstone *capstone = decoder->capstone;
  if (decoder->plain_insn) capstone->free(decoder->plain_insn, 1);
  if (decoder->detailed_insn) capstone->free(decoder->detailed_insn, 1);
  if (decoder->plain) capstone->close(&decoder->plain);
  if (decoder->detailed) capstone->close(&decoder->detailed);
  free(decoder);
}

static bool decode_plain(nmc_decoder *decoder, const uint8_t *bytes, size_t available,
                         uint64_t address) {
  decoder->last = decoder->plain_insn;
  return decoder->capstone->disasm_iter(decoder->plain, &bytes, &available, &address,
                                        decoder->plain_insn);
}

static bool decode_detailed(nmc_decoder *decoder, const uint8_t *bytes, size_t available,
                            uint64_t address) {
  decoder->last = decoder->detailed_insn;
  return decoder->capstone->disasm_iter(decoder->detailed, &bytes, &available, &address,
                                        decoder->detailed_insn);
}

// Learns the number of the instruction `bytes`, and checks that it is the intended instruction.
static bool learn(nmc_decoder *decoder, const uint8_t *bytes, size_t length, const char *mnemonic,
                  unsigned *id) {
  if (!decode_plain(decoder, bytes, length, 0)) return false;
  *id = decoder->plain_insn->id;
  return decoder->plain_insn->size == length && strcmp(nmc_mnemonic(decoder), mnemonic) == 0;
}

// Capstone builds its tables on the first decoding: that happens here, where allocation is allowed.
// Its results for known instructions are checked too, so that a library whose structures differ
// from those of its version is refused and not misread.
static bool learn_and_check(nmc_decoder *decoder) {
  static const uint8_t nop[] = {0x90}, ret[] = {0xc3}, call[] = {0xe8, 1, 0, 0, 0};
  static const uint8_t jump[] = {0xeb, 0}, add[] = {0xf0, 0x01, 0x07};
  nmc_instruction instruction;
  nmc_access access;
  return learn(decoder, nop, sizeof nop, "nop", &decoder->ids.nop) &&
         learn(decoder, ret, sizeof ret, "ret", &decoder->ids.ret) &&
         learn(decoder, jump, sizeof jump, "jmp", &decoder->ids.jump) &&
         learn(decoder, call, sizeof call, "call", &decoder->ids.call) &&
         nmc_decode(decoder, call, sizeof call, 0, &instruction) &&
         instruction.kind == NIK_CALL && instruction.target == 6 &&
         // lock add %eax, (%rdi)
         nmc_decode_access(decoder, add, sizeof add, 0, &access) && access.length == 3 &&
         access.width == 4 && access.reads && access.writes && access.locked;
}

static cs_err open_handles(nmc_decoder *decoder) {
  const nmc_capstone *capstone = decoder->capstone;
  cs_err status = capstone->open(CS_ARCH_X86, CS_MODE_64, &decoder->plain);
  if (status == CS_ERR_OK) status = capstone->open(CS_ARCH_X86, CS_MODE_64, &decoder->detailed);
  if (status == CS_ERR_OK)
    status = capstone->option(decoder->detailed, CS_OPT_DETAIL, CS_OPT_ON);
  if (status != CS_ERR_OK) return status;
  decoder->plain_insn = capstone->malloc(decoder->plain);
  decoder->detailed_insn = capstone->malloc(decoder->detailed);
  return decoder->plain_insn && decoder->detailed_insn ? CS_ERR_OK : CS_ERR_MEM;
}

nmc_decoder *nmc_decoder_create(const char **error) {
  const char *reason = NULL;
  const nmc_capstone *capstone = nmc_capstone_shared(&reason);
  nmc_decoder *decoder = capstone ? calloc(1, sizeof *decoder) : NULL;
  if (decoder != NULL) {
    decoder->capstone = capstone;
    cs_err status = open_handles(decoder);
    if (status != CS_ERR_OK) reason = capstone->strerror(status);
    else if (!learn_and_check(decoder)) reason = "it does not decode as its versions 4 and 5 do";
    else return decoder;
  } else if (capstone != NULL) {
    reason = capstone->strerror(CS_ERR_MEM);
  }
  if (error) *error = reason;
  nmc_decoder_destroy(decoder);
  return NULL;
}

// Capstone prints an immediate or displacement of 0 to 9 in decimal, anything else in hex.
static uint64_t number_at(const char *text) {
  uint64_t value = 0;
  if (text[0] == '0' && text[1] == 'x') {
    for (text += 2;; text++) {
      unsigned digit = (unsigned char)*text;
      if (digit - '0' < 10) digit -= '0';
      else if (digit - 'a' < 6) digit -= 'a' - 10;
      else return value;
      value = value << 4 | digit;
    }
  }
  while ((unsigned char)*text - '0' < 10u) value = value * 10 + (unsigned)(*text++ - '0');
  return value;
}

// "qword ptr [rip + 0x2fe2]", "qword ptr [rip - 0x10]", "qword ptr [rip]"; false for any other
// operand, a prefixed segment or a narrower width among them.
static bool rip_slot(const char *operand, uint64_t next, uint64_t *slot) {
  static const char lead[] = "qword ptr [rip";
  if (strncmp(operand, lead, sizeof lead - 1) != 0) return false;
  operand += sizeof lead - 1;
  if (*operand == ']') *slot = next;
  else if (operand[0] == ' ' && operand[1] == '+') *slot = next + number_at(operand + 3);
  else if (operand[0] == ' ' && operand[1] == '-') *slot = next - number_at(operand + 3);
  else return false;
  return true;
}

static bool is_number(const char *operand) { return (unsigned char)*operand - '0' < 10u; }

bool nmc_decode(nmc_decoder *decoder, const uint8_t *bytes, size_t available, uint64_t address,
                nmc_instruction *instruction) {
  const cs_insn *insn = decoder->plain_insn;
  const known_ids *ids = &decoder->ids;
  *instruction = (nmc_instruction){0};
  if (!decode_plain(decoder, bytes, available, address)) return false;
  instruction->length = (uint8_t)insn->size;
  uint64_t next = address + insn->size;
  if (insn->id == ids->nop) {
    instruction->kind = NIK_NOP;
  } else if (insn->id == ids->ret) {
    instruction->kind = NIK_RETURN;
  } else if (insn->id == ids->call || insn->id == ids->jump) {
    bool call = insn->id == ids->call;
    const char *operands = nmc_operands(decoder);
    if (is_number(operands)) {
      instruction->kind = call ? NIK_CALL : NIK_JUMP;
      instruction->target = number_at(operands);
    } else if (rip_slot(operands, next, &instruction->target)) {
      instruction->kind = call ? NIK_CALL_SLOT : NIK_JUMP_SLOT;
    }
  }
  // Capstone 4 decodes endbr64 as a nop; version 5 has an id for it. So the bytes decide.
  static const uint8_t endbr64[] = {0xf3, 0x0f, 0x1e, 0xfa};
  if (insn->size == 4 && memcmp(bytes, endbr64, 4) == 0) instruction->kind = NIK_ENDBR64;
  return true;
}

bool nmc_decode_access(nmc_decoder *decoder, const uint8_t *bytes, size_t available,
                       uint64_t address, nmc_access *access) {
  const cs_insn *insn = decoder->detailed_insn;
  *access = (nmc_access){0};
  if (!decode_detailed(decoder, bytes, available, address)) return false;
  const cs_x86 *x86 = nmc_capstone_x86(decoder->capstone->layout, insn);
  access->length = (uint8_t)insn->size;
  access->locked = x86->prefix[0] == X86_PREFIX_LOCK;
  for (int i = 0; i < x86->op_count; i++) {
    if (x86->operands[i].type != X86_OP_MEM) continue;
    access->width = x86->operands[i].size;
    access->reads = x86->operands[i].access & CS_AC_READ;
    access->writes = x86->operands[i].access & CS_AC_WRITE;
  }
  return true;
}

bool nmc_confirms(void *opaque, uint8_t kind, uint8_t length, uint64_t target, uint64_t address,
                  const uint8_t *bytes) {
  nmc_decoder *decoder = opaque;
  nmc_instruction instruction;
  if (kind == NIK_NOP_RUN) {
    for (uint8_t i = 0; i < length; i++) {
      if (!nmc_decode(decoder, bytes + i, 1, address + i, &instruction)) return false;
      if (instruction.kind != NIK_NOP || instruction.length != 1) return false;
    }
    return true;
  }
  return nmc_decode(decoder, bytes, length, address, &instruction) && instruction.kind == kind &&
         instruction.length == length && instruction.target == target;
}

const char *nmc_mnemonic(const nmc_decoder *decoder) {
  return nmc_capstone_text(decoder->last, decoder->capstone->layout->mnemonic);
}

const char *nmc_operands(const nmc_decoder *decoder) {
  return nmc_capstone_text(decoder->last, decoder->capstone->layout->operands);
}
