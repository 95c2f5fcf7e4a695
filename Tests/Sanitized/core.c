// SPDX-License-Identifier: Apache-2.0
//
// The checks of the patch core and of the other C code, except the agent.
#include "check.h"
#include "checks.h"

// The thread sanitizer runs a signal's handler only when the thread next calls into the sanitizer.
// Its shadow of the program's text is read-only, so an mmap over text crashes the sanitizer itself.
static const char late[] = "signals come late", text[] = "its shadow of text is read-only";

static const check checks[] = {
  // This check runs first: it forks before the dispatcher is installed.
  {"other-peoples-signals", check_other_peoples_signals, NULL},
  {"decoder", check_decoder, NULL},
  {"demangler", check_demangler, NULL},
  {"modules", check_modules, NULL},
  {"near-memory", check_near_memory, NULL},
  {"fix-ups", check_fix_ups, NULL},
  {"refusals", check_refusals, NULL},
  {"quiet-text", check_quiet_text, NULL},
  {"running-text", check_running_text, NULL},
  {"run-of-nops", check_run_of_nops, NULL},
  {"roll-back", check_roll_back, text},
  {"second-look", check_second_look, text},
  {"stop", check_stop, NULL},
  {"stop-is-bounded", check_stop_is_bounded, late},
  {"churn", check_churn, late},
  {"two-patchers", check_two_patchers, NULL},
  {"forks", check_forks, NULL},
  {"loader-hook", check_loader_hook, NULL},
  {"socket", check_socket, NULL},
  {"arena", check_arena, NULL},
  {"processes", check_processes, NULL},
  {"patch-code", check_patch_code, NULL},
  {"daemon", check_daemon, NULL},
  {"watch", check_watch, NULL},
  {"flash", check_flash, NULL},
};

int main(int argc, char **argv) {
  return check_main(checks, sizeof checks / sizeof checks[0], argc, argv);
}
