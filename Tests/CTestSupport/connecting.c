// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "connecting.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int cts_connect(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof address.sun_path) {
    errno = ENAMETOOLONG;
    return -1;
  }
  strcpy(address.sun_path, path);
  int client = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (client < 0) return -1;
  if (connect(client, (struct sockaddr *)&address, sizeof address) == 0) return client;
  int error = errno;
  close(client);
  errno = error;
  return -1;
}

ssize_t cts_receive_descriptors(int socket, void *bytes, size_t size, int *descriptors,
                                int count) {
  union {
    struct cmsghdr header;
    char room[CMSG_SPACE(2 * sizeof(int))];
  } control;
  struct iovec part = {bytes, size};
  struct msghdr message = {
      .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  for (int i = 0; i < count; i++) descriptors[i] = -1;
  ssize_t got;
  do got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  while (got < 0 && errno == EINTR);
  if (got >= 0 && message.msg_flags & MSG_TRUNC) {
    errno = EMSGSIZE;
    return -1;
  }
  if (got < 0) return got;
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) return got;
  const int *sent = (const int *)CMSG_DATA(header);
  for (int i = 0; i < count && header->cmsg_len >= CMSG_LEN((size_t)(i + 1) * sizeof(int)); i++)
    descriptors[i] = sent[i];
  return got;
}

int cts_unsealed_file(uint64_t bytes) {
  int file = memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  return file >= 0 && ftruncate(file, (off_t)bytes) == 0 ? file : -1;
}

ssize_t cts_send_descriptors(int socket, const void *bytes, size_t size, const int *descriptors,
                             int count) {
  union {
    struct cmsghdr header;
    char room[CMSG_SPACE(2 * sizeof(int))];
  } control = {0};
  struct iovec part = {(void *)bytes, size};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  if (count > 0) {
    message.msg_control = &control;
    message.msg_controllen = CMSG_SPACE((size_t)count * sizeof(int));
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN((size_t)count * sizeof(int));
    memcpy(CMSG_DATA(&control.header), descriptors, (size_t)count * sizeof(int));
  }
  return sendmsg(socket, &message, MSG_NOSIGNAL);
}
