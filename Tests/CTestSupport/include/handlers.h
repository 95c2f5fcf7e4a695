// SPDX-License-Identifier: Apache-2.0
//
// Signal handlers of the test program, and ways to raise the signals.

#ifndef CTS_HANDLERS_H
#define CTS_HANDLERS_H

#include <stdbool.h>
#include <stdint.h>

enum { CTS_DEFAULT, CTS_IGNORE, CTS_PLAIN_HANDLER, CTS_INFO_HANDLER, CTS_HANDLER_FOR_ONE };

/// Installs a handler of this kind for `signal`, and unblocks it in this thread. 0 or an errno.
int cts_install_handler(int signal, int kind);
/// How many signals these handlers have received.
uint64_t cts_signals_handled(void);
/// What the last CTS_INFO_HANDLER received: si_code and, for an int3, pc - 1.
int cts_last_code(void);
uint64_t cts_last_place(void);
/// Executes an int3 that belongs to this program, and returns its address.
uint64_t cts_own_int3(void);
/// Use this with a saboteur whose deed is CTS_LOCK_PAGE on the page of `site`, and with the writer
/// /proc/self/mem. The patcher's second read of the site then faults, and SIGUSR1 is sent to the
/// patching thread at that moment. 0 or an errno.
int cts_interrupt_patcher(uint64_t site);
/// The first eight bytes of the site as SIGUSR1's handler found them; 0: the handler has not run.
uint64_t cts_text_seen_by_handler(void);
/// Reads address 8, which faults. The handlers above continue after that instruction.
void cts_own_fault(void);

/// Whether the patch core claims a SIGTRAP from an int3 just before `pc`, and at which address it
/// would continue. No thread really traps: a handler may run long after its int3, and this call
/// stands for such a late handler.
bool cts_forged_trap(uint64_t pc, uint64_t *next);

#endif
