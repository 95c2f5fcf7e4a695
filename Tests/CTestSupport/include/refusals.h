// SPDX-License-Identifier: Apache-2.0
//
// Makes the system refuse things. No call can be undone: use them in a child process.

#ifndef CTS_REFUSALS_H
#define CTS_REFUSALS_H

#include <stdint.h>

/// PR_SET_MDWE: nothing that was ever writable becomes executable (Linux 6.3). 0 or an errno.
int cts_refuse_executable_gain(void);
/// A seccomp filter for this thread: mprotect to exactly `protection` fails with EPERM. 0 or an
/// errno.
int cts_refuse_mprotect(int protection);
/// The same for membarrier.
int cts_refuse_membarrier(void);
/// The same for process_vm_readv.
int cts_refuse_copies(void);
/// Gives this thread a mount namespace without /proc. Needs root. 0 or an errno.
int cts_refuse_proc(void);
/// From now on only `spare` more files can be opened. 0 or an errno.
int cts_refuse_open(int spare);
/// From now on the user's processes may have `count` signals queued (RLIMIT_SIGPENDING). This one
/// can be undone. 0 or an errno.
int cts_limit_queued_signals(uint64_t count);

#endif
