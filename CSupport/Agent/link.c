// SPDX-License-Identifier: Apache-2.0
//
// The one question that an agent asks over a socket: where the recording's memory is. It is asked
// before the program's first instruction, and the socket is closed then. Every wait has a bound.

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
enum { WAIT_SECONDS = 10, MOST_SENT = 2 };

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

// A connected socket, or minus an errno.
static int connect_to(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  for (size_t i = 0; path[i] && i + 1 < sizeof address.sun_path; i++) address.sun_path[i] = path[i];
  int64_t socket = NAG_CALL(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (socket < 0) return (int)socket;
  int64_t status = NAG_CALL(SYS_connect, socket, &address, sizeof address);
  if (status == 0 && is_trusted(socket)) return (int)socket;
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
  struct pollfd wait = {.fd = socket, .events = events};
  struct timespec limit = {.tv_sec = WAIT_SECONDS};
  int64_t ready;
  do ready = NAG_CALL(SYS_ppoll, &wait, 1, &limit, 0, 8);
  while (ready == -EINTR);
  return ready == 1 && wait.revents & events;
}

// The answer, with its descriptors. Its length, or minus an errno.
static int64_t receive(int socket, nrec_config *config, int *files, int count) {
  union { struct cmsghdr header; char room[CMSG_SPACE(MOST_SENT * sizeof(int))]; } control;
  struct iovec part = {config, sizeof *config};
  struct msghdr packet = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control,
                          .msg_controllen = CMSG_SPACE((size_t)count * sizeof(int))};
  int64_t received = NAG_CALL(SYS_recvmsg, socket, &packet, MSG_CMSG_CLOEXEC);
  struct cmsghdr *header = received > 0 ? CMSG_FIRSTHDR(&packet) : NULL;
  if (header == NULL || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
    return received;
  const int *sent = (const int *)CMSG_DATA(header);
  for (int i = 0; i < count && header->cmsg_len >= CMSG_LEN((size_t)(i + 1) * sizeof(int)); i++)
    files[i] = sent[i];
  return received;
}

static bool say(int socket, const nrec_hello *hello) {
  return is_ready(socket, POLLOUT) &&
         NAG_CALL(SYS_sendto, socket, hello, sizeof *hello, MSG_NOSIGNAL, 0, 0) ==
             (int64_t)sizeof *hello;
}

void nag_tell(const char *path, const nrec_hello *hello) {
  int socket = connect_to(path);
  if (socket < 0) return;
  say(socket, hello);
  NAG_CALL(SYS_close, socket);
}

int nag_ask(const char *path, const nrec_hello *hello, nrec_config *config, int *files, int count) {
  int socket = connect_to(path);
  if (socket >= 0) return nag_ask_over(socket, hello, config, files, count);
  for (int i = 0; i < count; i++) files[i] = -1;
  return -socket;
}

int nag_ask_over(int socket, const nrec_hello *hello, nrec_config *config, int *files, int count) {
  for (int i = 0; i < count; i++) files[i] = -1;
  int error = ETIMEDOUT;
  if (say(socket, hello) && is_ready(socket, POLLIN)) {
    bool is_answer = receive(socket, config, files, count) == (int64_t)sizeof *config &&
                     config->message == NREC_MESSAGE_CONFIG &&
                     config->version == NREC_MESSAGE_VERSION;
    error = is_answer ? 0 : EPROTO;
  }
  NAG_CALL(SYS_close, socket);
  return error;
}
