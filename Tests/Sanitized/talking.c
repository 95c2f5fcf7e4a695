// SPDX-License-Identifier: Apache-2.0
//
// The recorder's C code: sockets with descriptors, the arena of a process that has ended, children.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "CRecordingABI.h"
#include "CRecorder.h"
#include "check.h"
#include "checks.h"
#include "connecting.h"

void check_socket(void) {
  char folder[] = "/tmp/sanitized-XXXXXX", path[64], bytes[64];
  CHECK(mkdtemp(folder) != NULL);
  snprintf(path, sizeof path, "%s/s", folder);
  int listener = nrc_listen(path), client = cts_connect(path), served = nrc_accept(listener);
  CHECK(listener >= 0 && client >= 0 && served >= 0);
  CHECK(nrc_accept(listener) == -1 && errno == EAGAIN);
  int32_t process;
  uint32_t user;
  CHECK(nrc_peer(served, &process, &user) == 0 && process == getpid() && user == geteuid());
  int file = nrc_memory_file("plan", 4), got[2];
  const int sent[] = {file, client};
  CHECK(nrc_send(served, "abc", 3, sent, 2) == 0);
  CHECK(cts_receive_descriptors(client, bytes, sizeof bytes, got, 2) == 3);
  CHECK(got[0] >= 0 && got[1] >= 0 && pread(got[0], bytes, 4, 0) == 4);
  CHECK(pwrite(got[0], "x", 1, 0) == -1);
  for (int i = 0; i < 2; i++) close(got[i]);
  // A receiver that expects no descriptor takes none. A message that is too long is refused.
  CHECK(nrc_send(client, "abcdef", 6, sent, 1) == 0);
  CHECK(nrc_receive(served, bytes, sizeof bytes) == 6);
  CHECK(nrc_send(client, "abcdef", 6, NULL, 0) == 0);
  char *exact = malloc(3);
  CHECK(nrc_receive(served, exact, 3) == -1 && errno == EMSGSIZE);
  free(exact);
  close(client);
  CHECK(nrc_receive(served, bytes, sizeof bytes) == 0);
  char too_long[256];
  memset(too_long, 'x', sizeof too_long - 1);
  too_long[sizeof too_long - 1] = 0;
  CHECK(nrc_listen(too_long) == -1 && cts_connect(too_long) == -1);
  close(served), close(listener), close(file);
  unlink(path);
  rmdir(folder);
}

static void hand_over(nrec_arena *arena, uint32_t index, uint32_t owner,
                      const nrec_chunk_header *header) {
  memcpy(nrec_arena_chunk_at(arena, &arena->layout, index), header, sizeof *header);
  __atomic_store_n(&nrec_arena_entry(arena, &arena->layout, index)->owner, owner, __ATOMIC_RELEASE);
}

// Chunks whose headers hold arbitrary values, of a process that is there and of others.
void check_arena(void) {
  nrc_arena *ours = nrc_arena_make();
  CHECK(ours != NULL);
  const nrec_arena_layout most = nrec_arena_plan(UINT64_MAX);
  uint64_t bytes = nrec_arena_bytes(&most);
  nrec_arena *arena = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                           nrc_arena_file(ours), 0);
  struct stat about_it;
  CHECK(fstat(nrc_arena_file(ours), &about_it) == 0 && about_it.st_size >= most.data);
  CHECK(arena != MAP_FAILED && ftruncate(nrc_arena_file(ours), NREC_PAGE) == -1);
  int events = memfd_create("events", MFD_CLOEXEC), others = memfd_create("others", MFD_CLOEXEC);
  const nrc_arena_image about = {.events = events, .process = 77}, another = {.events = others};
  uint32_t image, other_image;
  int place = nrc_arena_join(ours, &about, &image);
  int other = nrc_arena_join(ours, &another, &other_image);
  CHECK(place >= 0 && other >= 0 && place != other && image != other_image);
  nrec_file_header *header = &nrec_arena_place(arena, (uint32_t)place)->header;
  *header = (nrec_file_header){.magic = NREC_FILE_MAGIC, .next_offset = UINT64_MAX, .calls = 11};
  // As an agent asks for neighbours; the thread looks each 100 ms.
  __atomic_store_n(&arena->wanted, 8, __ATOMIC_RELEASE);
  while (__atomic_load_n(&arena->chunk_count, __ATOMIC_ACQUIRE) < 8) usleep(100);
  static const uint64_t states[] = {0, 1, 64, 5000, 0xffff};
  for (uint32_t i = 0; i < 5; i++) {
    nrec_chunk_header chunk = {.magic = NREC_CHUNK_MAGIC, .size = UINT32_MAX, .state = states[i],
                               .kind = NREC_CHUNK_EVENTS, .open_functions = UINT32_MAX};
    hand_over(arena, i, nrec_owner((uint32_t)place, i % 2 ? NREC_FULL : NREC_OWNED), &chunk);
  }
  // Counters that claim more than the one chunk that they have; noise; nobody's.
  nrec_chunk_header counters = {.magic = NREC_CHUNK_MAGIC, .size = UINT32_MAX,
                                .kind = NREC_CHUNK_HITS};
  hand_over(arena, 5, nrec_owner((uint32_t)place, NREC_OWNED), &counters);
  hand_over(arena, 6, nrec_owner((uint32_t)place, NREC_FULL), &(nrec_chunk_header){.magic = 77});
  hand_over(arena, 7, UINT32_MAX, &counters);
  CHECK(nrc_arena_leave(ours, place, 1e9) == 0);
  for (uint32_t i = 0; i < 8; i++) CHECK(nrec_arena_entry(arena, &arena->layout, i)->owner == 0);
  nrec_file_header written;
  CHECK(pread(events, &written, sizeof written, 0) == (ssize_t)sizeof written);
  // One page where less than a header is used, two pages for 5000 bytes, and a chunk twice.
  uint64_t end = 4096 + 3 * 4096 + 8192 + 2 * NREC_CHUNK_BYTES;
  CHECK(written.next_offset == end && lseek(events, 0, SEEK_END) == (off_t)end);
  CHECK(written.calls == 11 && written.lost_chunks == 0 && written.process == 77);
  CHECK(lseek(others, 0, SEEK_END) == NREC_PAGE);
  // Of a process that never began its header nothing is read.
  CHECK(nrc_arena_leave(ours, other, 1e9) == 0);
  nrc_arena_free(ours);
  CHECK(arena->is_closed == 1 && !nrec_is_dead(arena));
  munmap(arena, bytes);
  close(events), close(others);
}

void check_processes(void) {
  static const uint32_t held[] = {SIGCHLD, SIGUSR2};
  int signals = nrc_signals_hold(held, 2);
  CHECK(signals >= 0);
  char *arguments[] = {"sh", "-c", "exit 7", NULL}, *environment[] = {NULL};
  nrc_spawn_options options = {.path = "/bin/sh", .arguments = arguments,
                               .environment = environment, .default_signals = held,
                               .default_signal_count = 2, .output = -1, .error = -1};
  pid_t child = 0;
  int status;
  CHECK(nrc_spawn(&options, &child) == 0);
  int ended = nrc_process_descriptor(child);
  CHECK(ended >= 0 && waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 7);
  close(ended);
  options.path = "/nonexistent";
  CHECK(nrc_spawn(&options, &child) == ENOENT);
  bool from_kernel;
  kill(getpid(), SIGUSR2);
  bool seen = false;
  for (int next; (next = nrc_signals_next(signals, &from_kernel)) != 0;)
    seen |= next == SIGUSR2 && !from_kernel;
  CHECK(seen);
  close(signals);
  CHECK(nrc_contains("abcdef", 6, "ef", 2) && !nrc_contains("abcde", 5, "ef", 2));
  CHECK(nrc_probe_mprotect("/proc/self/exe") == 0);
  CHECK(nrc_probe_process_memory("/proc/self/exe") == 0);
}
