// SPDX-License-Identifier: Apache-2.0
//
// What the files of this target share: ptrace, a thread at a time.

#ifndef NVI_TRACING_H
#define NVI_TRACING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

/// Nanoseconds.
uint64_t nvi_now(void);
/// Waits for the thread's next stop until `deadline`. 0, ETIMEDOUT, or ESRCH: it has ended.
int nvi_next_stop(pid_t thread, uint64_t deadline, int *status);
/// Has a seized thread, stopped or not, go on to a stop at which the kernel looks for signals. Signals
/// that are delivered before are passed on.
int nvi_interrupt(pid_t thread, bool is_stopped, uint64_t deadline);
/// Waits for the stop that was asked for (nvi_interrupt's second half).
int nvi_interrupted(pid_t thread, uint64_t deadline);
int nvi_set_registers(pid_t thread, struct user_regs_struct *registers);
int nvi_get_registers(pid_t thread, struct user_regs_struct *registers);
/// Some calls end with EINTR whatever interrupts them (epoll_wait, sigtimedwait, semtimedop, recv with
/// a time limit). Replaces that result by ERESTARTNOHAND: the kernel begins the call again, unless a
/// signal with a handler has come. A time limit of the call then begins anew.
void nvi_begin_call_again(struct user_regs_struct *registers);
/// Lets a seized thread go that was asked to stop and has not yet: now, or by nvi_leave_late.
void nvi_leave(pid_t thread);

#endif
