// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "CRecorder.h"

#include <errno.h>
#include <sys/epoll.h>

int nrc_wait_set(void) { return epoll_create1(EPOLL_CLOEXEC); }

int nrc_wait_add(int set, int descriptor, uint64_t number) {
  struct epoll_event event = {.events = EPOLLIN, .data.u64 = number};
  return epoll_ctl(set, EPOLL_CTL_ADD, descriptor, &event);
}

void nrc_wait_remove(int set, int descriptor) {
  epoll_ctl(set, EPOLL_CTL_DEL, descriptor, &(struct epoll_event){0});
}

int nrc_wait(int set, uint64_t *numbers, int capacity, int milliseconds) {
  enum { AT_ONCE = 256 };
  struct epoll_event events[AT_ONCE];
  int ready = epoll_wait(set, events, capacity < AT_ONCE ? capacity : AT_ONCE, milliseconds);
  for (int i = 0; i < ready; i++) numbers[i] = events[i].data.u64;
  return ready;
}
