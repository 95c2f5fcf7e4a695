// SPDX-License-Identifier: Apache-2.0
//
// Functions of this program whose call sites the checks patch.

#ifndef SANITIZED_SPECIMEN_H
#define SANITIZED_SPECIMEN_H

#include <stdint.h>

#include "CPatchCore.h"

enum { SPEC_SITES = 1024 };

typedef int spec_function(int);
extern const char spec_begin[], spec_end[];
spec_function spec_run, spec_call;

/// The address of site `i`, which holds a nop of five bytes.
uint64_t spec_site(unsigned i);
static inline spec_function *spec_at(unsigned i) { return (spec_function *)spec_site(i); }

/// The poke of a nop at `address` into a call of `entry`, or back.
npc_poke spec_arm(uint64_t address, const void *entry);
npc_poke spec_disarm(npc_poke armed);

/// A transaction on this program's text, verified by Capstone. The caller keeps the pokes.
npc_transaction spec_transaction(const npc_poke *pokes, size_t count, int protocol, int writer);

#endif
