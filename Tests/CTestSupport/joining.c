// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "joining.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "connecting.h"

// In the child: only what is safe after a fork of a program with threads.
static void ask(const char *path, const void *hello, size_t size, int control) {
  char answer[8192], more;
  int files[2] = {-1, -1};
  int client = cts_connect(path);
  ssize_t got = -1;
  if (client >= 0 && send(client, hello, size, MSG_NOSIGNAL) == (ssize_t)size)
    got = cts_receive_descriptors(client, answer, sizeof answer, files, 2);
  int count = files[0] < 0 ? 0 : files[1] < 0 ? 1 : 2;
  // One byte says that what follows is an answer.
  char is_answer = got > 0;
  send(control, &is_answer, 1, MSG_NOSIGNAL);
  if (is_answer) cts_send_descriptors(control, answer, (size_t)got, files, count);
  while (recv(control, &more, 1, 0) > 0) {
  }
}

pid_t cts_join(const char *path, const void *hello, size_t size, int *control) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return -1;
  pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
  if (child == 0) {
    close(ends[0]);
    ask(path, hello, size, ends[1]);
    _exit(0);
  }
  close(ends[1]);
  *control = ends[0];
  return child;
}

ssize_t cts_joined(int control, void *answer, size_t size, int *descriptors) {
  char is_answer = 0;
  if (recv(control, &is_answer, 1, 0) != 1 || !is_answer) return 0;
  return cts_receive_descriptors(control, answer, size, descriptors, 2);
}

void cts_leave(pid_t process, int control) {
  int status;
  close(control);
  kill(process, SIGKILL);
  while (waitpid(process, &status, 0) < 0 && errno == EINTR) {
  }
}

cts_arena *cts_arena_map(int file) {
  struct stat status;
  cts_arena *arena = calloc(1, sizeof *arena);
  if (arena == NULL || fstat(file, &status) != 0) return arena;
  const nrec_arena_layout most = nrec_arena_plan(UINT64_MAX);
  arena->bytes = nrec_arena_bytes(&most);
  void *memory = mmap(NULL, arena->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file, 0);
  arena->shared = memory == MAP_FAILED ? NULL : memory;
  if (arena->shared != NULL) arena->layout = arena->shared->layout;
  return arena;
}

void cts_arena_unmap(cts_arena *arena) {
  if (arena->shared != NULL) munmap(arena->shared, arena->bytes);
  free(arena);
}

static void ring(nrec_arena *shared) {
  __atomic_add_fetch(&shared->bell, 1, __ATOMIC_SEQ_CST);
  syscall(SYS_futex, &shared->bell, 1 /* FUTEX_WAKE */, 1, NULL, NULL, 0);
}

static int64_t take(cts_arena *arena, uint32_t place) {
  for (int round = 0; round < 1000; round++, usleep(1000)) {
    uint32_t count = __atomic_load_n(&arena->shared->chunk_count, __ATOMIC_ACQUIRE);
    for (uint32_t i = 0; i < count; i++) {
      uint32_t none = 0;
      if (__atomic_compare_exchange_n(&nrec_arena_entry(arena->shared, &arena->layout, i)->owner, &none,
                                      nrec_owner(place, NREC_OWNED), false, __ATOMIC_ACQ_REL,
                                      __ATOMIC_RELAXED))
        return i;
    }
    ring(arena->shared);
  }
  return -1;
}

bool cts_arena_send(cts_arena *arena, uint32_t place, uint32_t number, const void *bytes,
                    size_t size) {
  int64_t index = take(arena, place);
  if (index < 0 || size > NREC_CHUNK_BYTES - sizeof(nrec_chunk_header)) return false;
  nrec_chunk_header *header =
      (nrec_chunk_header *)nrec_arena_chunk_at(arena->shared, &arena->layout, (uint32_t)index);
  *header = (nrec_chunk_header){.magic = NREC_CHUNK_MAGIC, .kind = NREC_CHUNK_MESSAGES,
                                .sequence = number, .size = (uint32_t)(sizeof *header + size)};
  memcpy(header + 1, bytes, size);
  __atomic_store_n(&nrec_arena_entry(arena->shared, &arena->layout, (uint32_t)index)->owner,
                   nrec_owner(place, NREC_FULL), __ATOMIC_RELEASE);
  ring(arena->shared);
  return true;
}

int cts_arena_claim(cts_arena *arena, uint32_t copied, int32_t thread, uint64_t time,
                    bool is_unseen, uint32_t *image) {
  for (uint32_t i = 0; i < arena->shared->place_count; i++) {
    nrec_arena_process *place = nrec_arena_place(arena->shared, i);
    uint32_t none = NREC_PLACE_FREE;
    if (!__atomic_compare_exchange_n(&place->state, &none, NREC_PLACE_CLAIMED, false,
                                     __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
      continue;
    place->copied = copied;
    place->thread = thread;
    place->image = *image = __atomic_add_fetch(&arena->shared->last_image, 1, __ATOMIC_RELAXED);
    place->header = (nrec_file_header){.version = NREC_VERSION, .header_size = sizeof place->header,
                                       .start_time = time};
    __atomic_store_n(&place->header.magic, NREC_FILE_MAGIC, __ATOMIC_RELEASE);
    if (is_unseen) return (int)i;
    __atomic_add_fetch(&arena->shared->claims, 1, __ATOMIC_SEQ_CST);
    ring(arena->shared);
    return (int)i;
  }
  return -1;
}

void cts_arena_request(cts_arena *arena, uint32_t place, uint32_t function, uint32_t state) {
  nrec_request *one = &arena->shared->requests[0];
  one->place = place;
  one->function = function;
  one->spent = 5000;
  memset(one->thread_name, 'x', sizeof one->thread_name);
  __atomic_store_n(&one->state, state, __ATOMIC_SEQ_CST);
  __atomic_store_n(&arena->shared->is_held, 1, __ATOMIC_SEQ_CST);
  ring(arena->shared);
}

bool cts_arena_is_held(const cts_arena *arena) {
  return __atomic_load_n(&arena->shared->is_held, __ATOMIC_SEQ_CST);
}

nrec_file_header *cts_arena_header(cts_arena *arena, uint32_t place) {
  return &nrec_arena_place(arena->shared, place)->header;
}

size_t cts_arena_answer(cts_arena *arena, uint32_t place, void *bytes, size_t size) {
  nrec_arena_process *its = nrec_arena_place(arena->shared, place);
  uint32_t newest = __atomic_exchange_n(&its->answers, 0, __ATOMIC_ACQUIRE);
  if (newest == 0) return 0;
  uint32_t index = newest - 1;
  const nrec_answer *answer =
      (const nrec_answer *)nrec_arena_chunk_at(arena->shared, &arena->layout, index);
  size_t length = sizeof *answer + answer->plan.count * sizeof(nrec_plan_entry);
  memcpy(bytes, answer, length < size ? length : size);
  for (size_t i = (length + NREC_CHUNK_BYTES - 1) / NREC_CHUNK_BYTES; i > 0; i--)
    __atomic_store_n(&nrec_arena_entry(arena->shared, &arena->layout, index + (uint32_t)i - 1)->owner,
                     0, __ATOMIC_RELEASE);
  return length;
}
