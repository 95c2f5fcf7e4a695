// SPDX-License-Identifier: Apache-2.0
//
// Places the code that the agent generates. The agent writes it to pages elsewhere, makes them
// executable, and then moves them to their place. So no page is ever writable and executable at
// once. A thread that runs the old code of the place sees either the old pages or the new ones: the
// kernel exchanges them under its lock on the address space.

#include "agent.h"
#include "syscalls.h"

bool nag_code_place(uint8_t *pages, size_t bytes, uint8_t *place) {
  int64_t status = NAG_CALL(SYS_mprotect, pages, bytes, PROT_READ | PROT_EXEC);
  if (status == 0)
    status = NAG_CALL(SYS_mremap, pages, bytes, bytes, 3 /* MAYMOVE | FIXED */, place);
  if (status >= 0 || status <= -4096) return true;
  NAG_CALL(SYS_munmap, pages, bytes);
  return false;
}
