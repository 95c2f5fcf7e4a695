// SPDX-License-Identifier: Apache-2.0
//
// What a recorder has a running process do. It starts a thread there for one call of
// nopscope_visit (Sources/Visits), which does one thing and ends.

#include "agent.h"
#include "nrec_visit.h"
#include "syscalls.h"

static int attach(int socket) {
  if (nag_process_state == NULL) {
    nag_process_state = nag_wiped_pages(sizeof *nag_process_state);
    if (nag_process_state == NULL || !nag_orphans_prepare()) {
      NAG_CALL(SYS_close, socket);
      return ENOMEM;
    }
  }
  // Another recording, or one that has left something behind.
  bool is_taken = nag_process_state->header != NULL || npc_loader_hook_installed() ||
                  npc_loader_hook_is_anothers();
  if (is_taken) NAG_CALL(SYS_close, socket);
  int error = is_taken ? EBUSY : nag_join(socket);
  return error != 0 ? error : nag_session_begin(true);
}

static int detach(nrec_visit_result *result) {
  if (nag_process_state == NULL || nag_process_state->header == NULL) return ESRCH;
  nag_ending ending;
  nag_session_end(&ending);
  *result = (nrec_visit_result){.restored = ending.restored, .left = ending.left,
                                .kept_returns = ending.kept_returns, .status = ending.error,
                                .is_quiet = ending.is_quiet};
  return 0;
}

// Signals are blocked in this thread: the one that was interrupted for its sake had them blocked.
__attribute__((visibility("default"))) int nopscope_visit(const uint64_t *arguments) {
  int result = EINVAL;
  npc_stop_from_outside((npc_outside *)arguments[NREC_VISIT_TABLE]);
  if (arguments[NREC_VISIT_WHAT] == NREC_VISIT_ATTACH)
    result = attach((int)arguments[NREC_VISIT_ARGUMENT]);
  else if (arguments[NREC_VISIT_WHAT] == NREC_VISIT_DETACH)
    result = detach((nrec_visit_result *)arguments[NREC_VISIT_ARGUMENT]);
  npc_stop_from_outside(NULL);
  return result;
}
