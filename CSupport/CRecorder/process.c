// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "CRecorder.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

// The mask of this process before it held signals. Children get it.
static sigset_t original_mask;
static bool has_original_mask;

// Whether SIGXFSZ had its default action when this process began to ignore it. Children get it
// back.
static bool has_default_file_size_signal;

void nrc_ignore_file_size_signal(void) {
  struct sigaction ignored = {.sa_handler = SIG_IGN}, before;
  if (sigaction(SIGXFSZ, &ignored, &before) == 0 && before.sa_handler == SIG_DFL)
    has_default_file_size_signal = true;
}

int nrc_signals_hold(const uint32_t *signals, size_t count) {
  sigset_t held, before;
  sigemptyset(&held);
  for (size_t i = 0; i < count; i++) sigaddset(&held, (int)signals[i]);
  if (sigprocmask(SIG_BLOCK, &held, &before) != 0) return -1;
  if (!has_original_mask) original_mask = before;
  has_original_mask = true;
  return signalfd(-1, &held, SFD_CLOEXEC | SFD_NONBLOCK);
}

int nrc_signals_next(int descriptor, bool *from_kernel) {
  struct signalfd_siginfo information;
  if (read(descriptor, &information, sizeof information) != (ssize_t)sizeof information) return 0;
  *from_kernel = information.ssi_code == SI_KERNEL;
  return (int)information.ssi_signo;
}

static int settle(posix_spawnattr_t *attributes, posix_spawn_file_actions_t *actions,
                  const nrc_spawn_options *options) {
  sigset_t defaults, mask;
  sigemptyset(&defaults);
  for (size_t i = 0; i < options->default_signal_count; i++)
    sigaddset(&defaults, (int)options->default_signals[i]);
  if (has_default_file_size_signal) sigaddset(&defaults, SIGXFSZ);
  if (has_original_mask) mask = original_mask;
  else sigprocmask(SIG_BLOCK, NULL, &mask);
  int error = posix_spawnattr_setsigmask(attributes, &mask);
  if (!error) error = posix_spawnattr_setsigdefault(attributes, &defaults);
  if (!error)
    error = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  if (!error && options->output >= 0)
    error = posix_spawn_file_actions_adddup2(actions, options->output, 1);
  if (!error && options->error >= 0)
    error = posix_spawn_file_actions_adddup2(actions, options->error, 2);
  return error;
}

int nrc_spawn(const nrc_spawn_options *options, pid_t *child) {
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_t actions;
  int error = posix_spawnattr_init(&attributes);
  if (error) return error;
  error = posix_spawn_file_actions_init(&actions);
  if (!error) {
    error = settle(&attributes, &actions, options);
    nrc_descriptor_limit_for_children(true);
    if (!error)
      error = posix_spawn(child, options->path, &actions, &attributes, options->arguments,
                          options->environment);
    nrc_descriptor_limit_for_children(false);
    posix_spawn_file_actions_destroy(&actions);
  }
  posix_spawnattr_destroy(&attributes);
  return error;
}

int nrc_pipe(int *ends) { return pipe2(ends, O_CLOEXEC); }

bool nrc_has_capabilities(int file) {
  return fgetxattr(file, "security.capability", NULL, 0) > 0;
}

int nrc_process_descriptor(pid_t process) {
  return (int)syscall(SYS_pidfd_open, process, 0);  // close-on-exec always
}

uint64_t nrc_address_space_limit(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return UINT64_MAX;
  return limit.rlim_cur;
}

void nrc_die_of(int signal) {
  // The child has left a core if the user wants cores. A core of this process would add nothing.
  const struct rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
  struct sigaction plain = {.sa_handler = SIG_DFL};
  sigaction(signal, &plain, NULL);
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, signal);
  sigprocmask(SIG_UNBLOCK, &one, NULL);
  kill(getpid(), signal);
}
