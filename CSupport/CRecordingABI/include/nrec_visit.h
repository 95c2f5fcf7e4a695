// SPDX-License-Identifier: Apache-2.0
//
// What nopscope_visit, a function of the agent, is asked for in a process that runs.

#ifndef NREC_VISIT_H
#define NREC_VISIT_H

#include <stdint.h>

/// Its arguments, four words.
enum {
  NREC_VISIT_WHAT = 0,      ///< NREC_VISIT_ATTACH or _DETACH
  NREC_VISIT_ARGUMENT = 1,  ///< the connection's descriptor; the address of an nrec_visit_result
  NREC_VISIT_TABLE = 2,     ///< address of an npc_outside
};

enum {
  /// Begin a recording. The result is 0, EBUSY (there is one), or another errno.
  NREC_VISIT_ATTACH = 1,
  /// End it. The result is 0, or ESRCH (there is none).
  NREC_VISIT_DETACH = 2,
};

/// What came of the end of a recording.
typedef struct nrec_visit_result {
  uint32_t restored;      ///< sites that are what their file has
  uint32_t left;          ///< sites that are not: `status` says why the first is not (NPC_*)
  uint32_t kept_returns;  ///< frames that still return to a trampoline, which stays
  int32_t status;
  uint32_t is_quiet;      ///< 0: a thread may still be in code of the agent, which stays
} nrec_visit_result;

#endif
