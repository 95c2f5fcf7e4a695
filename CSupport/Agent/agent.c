// SPDX-License-Identifier: Apache-2.0
//
// The agent's beginning and end. The agent is linked `-z initfirst`, so its constructor runs before
// those of the program and of its libraries: every module that is loaded then is patched before any
// of its code runs. environ is not set up yet, so the constructor takes it from its arguments.

#include <sys/auxv.h>

#include "agent.h"
#include "syscalls.h"

static const char *environment(char **variables, const char *name) {
  for (; variables && *variables; variables++) {
    size_t i = 0;
    while (name[i] && (*variables)[i] == name[i]) i++;
    if (name[i] == 0 && (*variables)[i] == '=') return *variables + i + 1;
  }
  return NULL;
}

static bool prepare(const char *path) {
  size_t i = 0;
  while (path[i]) i++;
  // A path that was cut short could be another socket's path.
  if (i >= sizeof nag_config.socket_path) return false;
  i = 0;
  while (path[i] && i + 1 < sizeof nag_config.socket_path) {
    nag_config.socket_path[i] = path[i];
    i++;
  }
  nag_process_state = nag_wiped_pages(sizeof *nag_process_state);
  return nag_process_state != NULL && nag_orphans_prepare();
}

__attribute__((constructor)) static void start(int count, char **arguments, char **variables) {
  (void)count, (void)arguments;
  nag_interposed_prepare();
  const char *path = environment(variables, NREC_ENVIRONMENT);
  nag_exec_prepare();
  // A program with more privilege than its caller must not trust the environment. If there are two
  // agents in one process, the second does nothing: the first one patches the sites.
  if (getauxval(AT_SECURE) || npc_loader_hook_is_anothers()) return;
  if (path == NULL || *path == 0 || !prepare(path)) return;
  if (nag_join(-1) != 0) return;
  nag_exec_keep_agent();
  nag_environment_hide(variables);
  nag_session_begin(false);
}

__attribute__((destructor)) static void finish(void) {
  nag_process *process = nag_process_state;
  if (process == NULL || process->header == NULL) return;
  if (!nag_is_confined && process->id != -1 && process->id != nag_process_id()) return;
  uint64_t signals = nag_block_signals();
  nag_buffer *buffer = nag_self.buffer;
  nag_self.buffer = NULL;
  if (buffer != NULL) nag_thread_finish(buffer);
  nag_mark_ended();
  nag_restore_signals(signals);
}
