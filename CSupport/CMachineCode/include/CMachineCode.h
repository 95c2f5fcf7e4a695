// SPDX-License-Identifier: Apache-2.0
//
// The only target that uses Capstone. The code above it sees an instruction as one of the eight
// kinds that a patcher of call sites has to distinguish (CInstructionKinds).
//
// A decoder allocates when it is made and never again. So `nmc_decode`, `nmc_decode_access` and
// `nmc_confirms` may run under the loader's lock, with threads stopped, or in a signal handler.
// Only one thread at a time may use a decoder.

#ifndef CMACHINECODE_H
#define CMACHINECODE_H

#if !defined(__x86_64__) || !defined(__linux__)
#error "nopscope patches x86-64 machine code on Linux; this target is another architecture or system"
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "CInstructionKinds.h"

typedef struct nmc_decoder nmc_decoder;

typedef struct nmc_instruction {
  uint64_t target;   ///< see the kinds; 0 where they name none
  uint8_t kind;      ///< NIK_*
  uint8_t length;    ///< bytes
} nmc_instruction;

/// How an instruction touches memory, for the device model.
typedef struct nmc_access {
  uint8_t width;     ///< bytes of its memory operand; 0: it has none
  uint8_t length;    ///< bytes of the instruction
  bool reads, writes, locked;
} nmc_access;

/// Whether one of `names` (file names for dlopen; the last is NULL) is a Capstone of a version that
/// a decoder can use, 4 or 5. If none is, `reason` (`size` bytes) gets the reason for each.
bool nmc_can_load_capstone(const char *const *names, char *reason, size_t size);

/// Opens Capstone for x86-64 and makes its first decodings. NULL on failure, with the reason in
/// `*error`.
nmc_decoder *nmc_decoder_create(const char **error);
void nmc_decoder_destroy(nmc_decoder *decoder);

/// Decodes the instruction at `bytes`, of which `available` may be read, as if it stood at
/// `address`. False if Capstone does not decode it.
bool nmc_decode(nmc_decoder *decoder, const uint8_t *bytes, size_t available, uint64_t address,
                nmc_instruction *instruction);

/// Decodes the memory access of the instruction at `bytes`; false if Capstone does not decode it.
bool nmc_decode_access(nmc_decoder *decoder, const uint8_t *bytes, size_t available,
                       uint64_t address, nmc_access *access);

/// Whether the `length` bytes at `bytes` are exactly one instruction (NIK_NOP_RUN: `length`
/// one-byte nops) of `kind` with `target`, by Capstone's decoding of those bytes alone.
/// The signature is the patch core's `npc_verifier`; `decoder` is an `nmc_decoder *`.
bool nmc_confirms(void *decoder, uint8_t kind, uint8_t length, uint64_t target, uint64_t address,
                  const uint8_t *bytes);

/// Text of the instruction decoded last, as Capstone prints it; valid until the next decoding.
const char *nmc_mnemonic(const nmc_decoder *decoder);
const char *nmc_operands(const nmc_decoder *decoder);

#endif
