// SPDX-License-Identifier: Apache-2.0
//
// A system that says no. None of these can be undone: use them in a child process.

#ifndef CTS_REFUSALS_H
#define CTS_REFUSALS_H

/// PR_SET_MDWE: nothing that was ever writable becomes executable (Linux 6.3). 0 or an errno.
int cts_refuse_executable_gain(void);
/// A seccomp filter for this thread: mprotect to exactly `protection` fails with EPERM. 0 or an
/// errno.
int cts_refuse_mprotect(int protection);
/// The same for membarrier.
int cts_refuse_membarrier(void);
/// This thread finds no /proc any more: a mount namespace of its own. For root. 0 or an errno.
int cts_refuse_proc(void);
/// No file can be opened from now on but `spare` of them. 0 or an errno.
int cts_refuse_open(int spare);

#endif
