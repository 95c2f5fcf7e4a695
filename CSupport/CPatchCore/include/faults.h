// SPDX-License-Identifier: Apache-2.0
//
// SIGSEGV, SIGBUS and SIGTRAP have several users in one process: the fault fix-up, watched pages,
// int3 pokes, the program itself. One dispatcher asks each user in turn. If none claims the signal,
// it calls the program's own handler.

#ifndef NPC_FAULTS_H
#define NPC_FAULTS_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// Claims a signal (true: handled, return to the interrupted code as `context` now has it).
/// Runs in the signal handler. `context` is a `ucontext_t *`.
typedef bool (*npc_fault_handler)(int signal, siginfo_t *info, void *context);

/// Set-up. Installs the dispatcher for SIGSEGV, SIGBUS and SIGTRAP and keeps the actions that were
/// there. Does nothing if it is installed already. 0 or an errno.
int npc_faults_install(void);

/// Whether `signal` still calls the dispatcher: the program may have replaced it since.
bool npc_faults_owns(int signal);
/// Whether a load or store that faults reaches the dispatcher: it is installed, and the program has
/// replaced neither SIGSEGV's action nor SIGBUS's since.
bool npc_faults_are_caught(void);

/// Set-up. Adds a handler. Handlers added later are asked first. At most 8; 0 or ENOSPC.
int npc_faults_add(npc_fault_handler handler);

/// Set-up of the fault fix-up: if the instruction `at` faults, execution continues at `landing`.
/// Both are code addresses, in code written for this. Fix-ups are asked after the handlers. At most
/// 16; 0 or ENOSPC.
int npc_faults_add_fixup(const void *at, const void *landing);

/// Page-fault error code of the fault in `context`: bit 0 the page was present, bit 1 a write,
/// bit 4 an instruction fetch (Intel SDM vol. 3, 4.7).
uint64_t npc_fault_error_code(const void *context);
uint64_t npc_fault_pc(const void *context);
void npc_fault_set_pc(void *context, uint64_t pc);
/// Sets or clears the trap flag: one instruction runs, then SIGTRAP with si_code TRAP_TRACE.
void npc_fault_single_step(void *context, bool on);

#endif
