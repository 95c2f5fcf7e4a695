// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "CRecorder.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static int close_with(int descriptor, int error) {
  close(descriptor);
  errno = error;
  return -1;
}

size_t nrc_longest_socket_path(void) { return sizeof((struct sockaddr_un *)0)->sun_path - 1; }

static bool name_socket(struct sockaddr_un *address, const char *path) {
  *address = (struct sockaddr_un){.sun_family = AF_UNIX};
  if (strlen(path) > nrc_longest_socket_path()) {
    errno = ENAMETOOLONG;
    return false;
  }
  strcpy(address->sun_path, path);
  return true;
}

int nrc_listen(const char *path) {
  struct sockaddr_un address;
  if (!name_socket(&address, path)) return -1;
  int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (listener < 0) return -1;
  // The inode takes its mode from the socket, so no other user can use it at any moment.
  if (fchmod(listener, 0600) != 0 || bind(listener, (struct sockaddr *)&address, sizeof address) != 0 ||
      listen(listener, SOMAXCONN) != 0)
    return close_with(listener, errno);
  return listener;
}

int nrc_accept(int listener) {
  return accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

int nrc_peer(int socket, int32_t *process, uint32_t *user) {
  struct ucred credentials;
  socklen_t size = sizeof credentials;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return -1;
  *process = credentials.pid;
  *user = credentials.uid;
  return 0;
}

ssize_t nrc_receive(int socket, void *bytes, size_t size) {
  struct iovec part = {bytes, size};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  ssize_t got;
  do got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  while (got < 0 && errno == EINTR);
  if (got >= 0 && message.msg_flags & MSG_TRUNC) {
    errno = EMSGSIZE;
    return -1;
  }
  return got;
}

int nrc_send(int socket, const void *bytes, size_t size, const int *descriptors, int count) {
  union {
    struct cmsghdr header;
    char room[CMSG_SPACE(NRC_MOST_DESCRIPTORS * sizeof(int))];
  } control = {0};
  struct iovec part = {(void *)bytes, size};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  if (count > 0 && count <= NRC_MOST_DESCRIPTORS) {
    size_t length = (size_t)count * sizeof(int);
    message.msg_control = &control;
    message.msg_controllen = CMSG_SPACE(length);
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(length);
    memcpy(CMSG_DATA(header), descriptors, length);
  }
  ssize_t sent;
  do sent = sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  while (sent < 0 && errno == EINTR);
  return sent < 0 ? -1 : 0;
}

int nrc_memory_file(const void *bytes, size_t size) {
  int file = (int)syscall(SYS_memfd_create, "nopscope-plan", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (file < 0) return -1;
  for (size_t done = 0; done < size;) {
    ssize_t wrote = write(file, (const char *)bytes + done, size - done);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return close_with(file, wrote < 0 ? errno : ENOSPC);
    done += (size_t)wrote;
  }
  // After this, the memory that the other side maps can no longer change or shrink.
  if (fcntl(file, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0)
    return close_with(file, errno);
  return file;
}
