// SPDX-License-Identifier: Apache-2.0
//
// Code that the agent makes: written to pages elsewhere, which become executable and then move to
// their place. So no page is writable and executable at once, and a thread that runs the place's
// old code finds the old pages or the new ones: the kernel exchanges them under its lock on the
// address space.

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
