// SPDX-License-Identifier: Apache-2.0
//
// The agent's end of the socket to the recorder. Every wait has a bound. After any trouble the
// agent sends no more questions to the recorder, and the program goes on. The socket stays open,
// because the recorder takes a closed socket to mean that the process has ended.

#define _GNU_SOURCE
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "agent.h"
#include "syscalls.h"

// When a recorder dies, its end of the socket is closed, and a wait ends at once. This bound is for
// a recorder that is alive and does not answer. It must be far above what a recorder needs on a
// busy machine for a program that it sees for the first time: a program without an answer runs
// untraced.
enum { WAIT_SECONDS = 10, HIGH_DESCRIPTOR = 700, MOST_DESCRIPTORS = 8, MOST_SENT = 3 };

// The lowest number for our descriptors. Where the limit is low, they are among the last numbers.
static uint64_t high_descriptor(void) {
  struct rlimit limit;
  if (NAG_CALL(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, &limit) != 0) return 0;
  if (limit.rlim_cur >= HIGH_DESCRIPTOR + MOST_DESCRIPTORS) return HIGH_DESCRIPTOR;
  return limit.rlim_cur > MOST_DESCRIPTORS ? limit.rlim_cur - MOST_DESCRIPTORS : 0;
}

// Programs use low descriptor numbers, and some close every descriptor that they did not open. So
// ours get high numbers. They are close-on-exec.
static int move_high(int64_t descriptor) {
  if (descriptor < 0) return -1;
  int64_t high = NAG_CALL(SYS_fcntl, descriptor, F_DUPFD_CLOEXEC, high_descriptor());
  if (high < 0) return (int)descriptor;
  NAG_CALL(SYS_close, descriptor);
  return (int)high;
}

// The recorder must run as this user or as root: an agent that connects to another user's socket
// would apply that user's plans.
static bool is_trusted(int64_t socket) {
  struct ucred peer;
  socklen_t size = sizeof peer;
  return NAG_CALL(SYS_getsockopt, socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
         (peer.uid == 0 || peer.uid == (uint32_t)NAG_CALL(SYS_geteuid));
}

_Static_assert(sizeof nag_config.socket_path == sizeof((struct sockaddr_un *)0)->sun_path,
               "a path that fits the one fits the other");

int nag_connect(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  for (size_t i = 0; path[i] && i + 1 < sizeof address.sun_path; i++) address.sun_path[i] = path[i];
  int64_t socket = NAG_CALL(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (socket < 0) return (int)socket;
  int64_t status = NAG_CALL(SYS_connect, socket, &address, sizeof address);
  if (status == 0 && is_trusted(socket)) return move_high(socket);
  NAG_CALL(SYS_close, socket);
  return status == 0 ? -EPERM : (int)status;
}

uint64_t nag_file_bytes(int file) {
  struct stat status;
  bool is_file = NAG_CALL(SYS_fstat, file, &status) == 0 && S_ISREG(status.st_mode);
  return is_file ? (uint64_t)status.st_size : 0;
}

int32_t nag_check_sealed(int file, uint64_t bytes, int seals) {
  struct stat status;
  int64_t found = NAG_CALL(SYS_fcntl, file, F_GET_SEALS);
  if (found < 0) return (int32_t)-found;
  int64_t error = NAG_CALL(SYS_fstat, file, &status);
  if (error < 0) return (int32_t)-error;
  bool is_fixed = (found & seals) == seals;
  return is_fixed && S_ISREG(status.st_mode) && (uint64_t)status.st_size >= bytes ? 0 : EINVAL;
}

static bool is_ready(int socket, short events) {
  nag_process *process = nag_process_state;
  if (process->is_unanswered) return false;
  struct pollfd wait = {.fd = socket, .events = events};
  struct timespec limit = {.tv_sec = WAIT_SECONDS};
  int64_t ready;
  do ready = NAG_CALL(SYS_ppoll, &wait, 1, &limit, 0, 8);
  while (ready == -EINTR);
  process->is_unanswered = !(ready == 1 && wait.revents & events);
  return !process->is_unanswered;
}

bool nag_send(const void *message, size_t length) {
  int socket = nag_process_state->socket;
  if (socket < 0 || !is_ready(socket, POLLOUT)) return false;
  return NAG_CALL(SYS_sendto, socket, message, length, MSG_NOSIGNAL, 0, 0) == (int64_t)length;
}

int64_t nag_receive(void *message, size_t length, int *descriptors, int count) {
  int socket = nag_process_state->socket;
  for (int i = 0; i < count; i++) descriptors[i] = -1;
  if (socket < 0 || !is_ready(socket, POLLIN)) return -1;
  union { struct cmsghdr header; char room[CMSG_SPACE(MOST_SENT * sizeof(int))]; } control;
  struct iovec part = {message, length};
  struct msghdr packet = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control,
                          .msg_controllen = CMSG_SPACE((size_t)count * sizeof(int))};
  int64_t received = NAG_CALL(SYS_recvmsg, socket, &packet, MSG_CMSG_CLOEXEC);
  struct cmsghdr *header = received > 0 ? CMSG_FIRSTHDR(&packet) : NULL;
  if (header == NULL || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
    return received;
  const int *sent = (const int *)CMSG_DATA(header);
  for (int i = 0; i < count && header->cmsg_len >= CMSG_LEN((size_t)(i + 1) * sizeof(int)); i++)
    descriptors[i] = move_high(sent[i]);
  return received;
}
