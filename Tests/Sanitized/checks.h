// SPDX-License-Identifier: Apache-2.0
//
// One function for each claim. core.c and agent.c list them.

#ifndef SANITIZED_CHECKS_H
#define SANITIZED_CHECKS_H

// patching.c
void check_quiet_text(void);
void check_running_text(void);
void check_run_of_nops(void);
void check_refusals(void);
void check_roll_back(void);
void check_second_look(void);
void check_two_patchers(void);
void check_forks(void);
// stopping.c
void check_stop(void);
void check_stop_is_bounded(void);
void check_churn(void);
// loading.c
void check_modules(void);
void check_near_memory(void);
void check_loader_hook(void);
// faulting.c
void check_fix_ups(void);
void check_other_peoples_signals(void);
// reading.c
void check_decoder(void);
void check_demangler(void);
// talking.c
void check_socket(void);
void check_arena(void);
void check_processes(void);
// unloading.c
void check_flash(void);
void check_watch(void);
void check_daemon(void);
void check_patch_code(void);

#endif
