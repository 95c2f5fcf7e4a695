// SPDX-License-Identifier: Apache-2.0
//
// The program's own signal handlers, and what it does to be signalled.

#ifndef CTS_HANDLERS_H
#define CTS_HANDLERS_H

#include <stdbool.h>
#include <stdint.h>

enum { CTS_DEFAULT, CTS_IGNORE, CTS_PLAIN_HANDLER, CTS_INFO_HANDLER, CTS_HANDLER_FOR_ONE };

/// Installs one of them for `signal`, and unblocks it in this thread. 0 or an errno.
int cts_install_handler(int signal, int kind);
/// How many signals the handlers above were given.
uint64_t cts_signals_handled(void);
/// What the last CTS_INFO_HANDLER was told: si_code and, of an int3, pc - 1.
int cts_last_code(void);
uint64_t cts_last_place(void);
/// Executes an int3 of this program's own; returns its address.
uint64_t cts_own_int3(void);
/// To be used with a saboteur whose deed is CTS_LOCK_PAGE on the page of `site`, and /proc/self/mem
/// as the writer: the patcher's second look faults there, and SIGUSR1 is sent to it. 0 or an errno.
int cts_interrupt_patcher(uint64_t site);
/// What SIGUSR1's handler found at the site: its first eight bytes; 0: it has not run.
uint64_t cts_text_seen_by_handler(void);
/// Reads address 8. The handlers above go on behind it.
void cts_own_fault(void);

/// Whether the patch core claims a SIGTRAP that an int3 before `pc` made, and where it would go on.
/// No thread traps: its handler may run long after the int3, and here it does.
bool cts_forged_trap(uint64_t pc, uint64_t *next);

#endif
