// SPDX-License-Identifier: Apache-2.0
//
// Defines the agent's state that several files use. thread_state.h and process_state.h describe it.

#include "process_state.h"
#include "thread_state.h"

__thread nag_tls nag_self __attribute__((tls_model("initial-exec"), visibility("hidden")));
int64_t nag_rseq;
nag_process *nag_process_state;
nag_shared nag_config;
