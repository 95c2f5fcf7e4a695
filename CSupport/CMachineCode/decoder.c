// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "CMachineCode.h"

#include <capstone/capstone.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Capstone has 78,000 relocations. It is loaded when something is decoded first, so that a start of
// nopscope that needs no decoding, as of a recording whose modules are known, does not wait for them.
#define TEXT_OF(number) #number
#define LIBRARY(version) "libcapstone.so." TEXT_OF(version)

static struct {
  __typeof__(cs_open) *open;
  __typeof__(cs_close) *close;
  __typeof__(cs_option) *option;
  __typeof__(cs_malloc) *malloc;
  __typeof__(cs_free) *free;
  __typeof__(cs_disasm_iter) *disasm_iter;
  __typeof__(cs_strerror) *strerror;
} capstone;
static pthread_once_t once_for_capstone = PTHREAD_ONCE_INIT;
static char load_error[256];

static void load_capstone(void) {
  const struct { const char *name; void *function; } functions[] = {
    {"cs_open", &capstone.open},       {"cs_close", &capstone.close},
    {"cs_option", &capstone.option},   {"cs_malloc", &capstone.malloc},
    {"cs_free", &capstone.free},       {"cs_disasm_iter", &capstone.disasm_iter},
    {"cs_strerror", &capstone.strerror},
  };
  // The version whose header this was compiled with: another one lays its structures out otherwise.
  void *library = dlopen(LIBRARY(CS_API_MAJOR), RTLD_NOW | RTLD_LOCAL);
  bool found = library != NULL;
  for (size_t i = 0; found && i < sizeof functions / sizeof functions[0]; i++) {
    void *function = dlsym(library, functions[i].name);
    memcpy(functions[i].function, &function, sizeof function);
    found = function != NULL;
  }
  if (!found) snprintf(load_error, sizeof load_error, "%s", dlerror());
}

struct nmc_decoder {
  csh plain;         // detail off: half the time
  csh detailed;      // for memory accesses only
  cs_insn *plain_insn;
  cs_insn *detailed_insn;
  const cs_insn *last;
};

void nmc_decoder_destroy(nmc_decoder *decoder) {
  if (decoder == NULL) return;
  if (decoder->plain_insn) capstone.free(decoder->plain_insn, 1);
  if (decoder->detailed_insn) capstone.free(decoder->detailed_insn, 1);
  if (decoder->plain) capstone.close(&decoder->plain);
  if (decoder->detailed) capstone.close(&decoder->detailed);
  free(decoder);
}

// Capstone builds its tables on the first decoding: do that here, where allocation is allowed.
static void warm(nmc_decoder *decoder) {
  static const uint8_t nop[] = {0x90}, load[] = {0x8b, 0x07};
  nmc_instruction instruction;
  nmc_access access;
  nmc_decode(decoder, nop, sizeof nop, 0, &instruction);
  nmc_decode_access(decoder, load, sizeof load, 0, &access);
}

nmc_decoder *nmc_decoder_create(const char **error) {
  pthread_once(&once_for_capstone, load_capstone);
  if (load_error[0] != 0) {
    if (error) *error = load_error;
    return NULL;
  }
  nmc_decoder *decoder = calloc(1, sizeof *decoder);
  cs_err status = decoder ? CS_ERR_OK : CS_ERR_MEM;
  if (status == CS_ERR_OK) status = capstone.open(CS_ARCH_X86, CS_MODE_64, &decoder->plain);
  if (status == CS_ERR_OK)
    status = capstone.open(CS_ARCH_X86, CS_MODE_64, &decoder->detailed);
  if (status == CS_ERR_OK)
    status = capstone.option(decoder->detailed, CS_OPT_DETAIL, CS_OPT_ON);
  if (status == CS_ERR_OK) {
    decoder->plain_insn = capstone.malloc(decoder->plain);
    decoder->detailed_insn = capstone.malloc(decoder->detailed);
    if (!decoder->plain_insn || !decoder->detailed_insn) status = CS_ERR_MEM;
  }
  if (status != CS_ERR_OK) {
    if (error) *error = capstone.strerror(status);
    nmc_decoder_destroy(decoder);
    return NULL;
  }
  warm(decoder);
  return decoder;
}

static bool decode(csh handle, cs_insn *insn, const uint8_t *bytes, size_t available,
                   uint64_t address) {
  return capstone.disasm_iter(handle, &bytes, &available, &address, insn);
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
  decoder->last = insn;
  *instruction = (nmc_instruction){0};
  if (!decode(decoder->plain, decoder->plain_insn, bytes, available, address)) return false;
  instruction->length = (uint8_t)insn->size;
  uint64_t next = address + insn->size;
  switch (insn->id) {
    case X86_INS_NOP: instruction->kind = NMC_NOP; break;
    case X86_INS_RET: instruction->kind = NMC_RETURN; break;
    case X86_INS_CALL:
    case X86_INS_JMP: {
      bool call = insn->id == X86_INS_CALL;
      if (is_number(insn->op_str)) {
        instruction->kind = call ? NMC_CALL : NMC_JUMP;
        instruction->target = number_at(insn->op_str);
      } else if (rip_slot(insn->op_str, next, &instruction->target)) {
        instruction->kind = call ? NMC_CALL_SLOT : NMC_JUMP_SLOT;
      }
      break;
    }
    default:
      // Capstone 4 knows endbr64 as a nop; 5 has an id of its own. The bytes decide.
      break;
  }
  static const uint8_t endbr64[] = {0xf3, 0x0f, 0x1e, 0xfa};
  if (insn->size == 4 && memcmp(bytes, endbr64, 4) == 0) instruction->kind = NMC_ENDBR64;
  return true;
}

bool nmc_decode_access(nmc_decoder *decoder, const uint8_t *bytes, size_t available,
                       uint64_t address, nmc_access *access) {
  const cs_insn *insn = decoder->detailed_insn;
  decoder->last = insn;
  *access = (nmc_access){0};
  if (!decode(decoder->detailed, decoder->detailed_insn, bytes, available, address)) return false;
  const cs_x86 *x86 = &insn->detail->x86;
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
  if (kind == NMC_NOP_RUN) {
    for (uint8_t i = 0; i < length; i++) {
      if (!nmc_decode(decoder, bytes + i, 1, address + i, &instruction)) return false;
      if (instruction.kind != NMC_NOP || instruction.length != 1) return false;
    }
    return true;
  }
  return nmc_decode(decoder, bytes, length, address, &instruction) && instruction.kind == kind &&
         instruction.length == length && instruction.target == target;
}

const char *nmc_mnemonic(const nmc_decoder *decoder) { return decoder->last->mnemonic; }
const char *nmc_operands(const nmc_decoder *decoder) { return decoder->last->op_str; }
