// SPDX-License-Identifier: Apache-2.0
//
// The recorder's C code: sockets with descriptors, salvage of a dead process's memory, children.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
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

// Chunks whose headers hold arbitrary values.
void check_salvage(void) {
  int memory = nrc_shared_memory(), events = memfd_create("events", MFD_CLOEXEC);
  CHECK(memory >= 0 && events >= 0);
  CHECK(nrc_salvage(memory, events) == 0);  // no header: the process recorded nothing
  nrec_file_header header = {.magic = NREC_FILE_MAGIC, .next_offset = UINT64_MAX};
  CHECK(pwrite(events, &header, sizeof header, 0) == (ssize_t)sizeof header);
  static const uint64_t states[] = {0, 1, 64, 5000, 0xffff, UINT64_MAX};
  for (int i = 0; i < 6; i++) {
    nrec_chunk_header chunk = {.magic = NREC_CHUNK_MAGIC, .size = UINT32_MAX, .state = states[i],
                               .open_functions = UINT32_MAX};
    CHECK(pwrite(memory, &chunk, sizeof chunk, (off_t)NREC_MEMORY_CHUNK * (i * i)) ==
          (ssize_t)sizeof chunk);
  }
  CHECK(pwrite(memory, "noise", 5, (off_t)NREC_MEMORY_CHUNK * 100) == 5);
  CHECK(pwrite(memory, "at the end", 10, (off_t)NREC_MEMORY_BYTES - 10) == 10);
  CHECK(nrc_salvage(memory, events) == 6);
  CHECK(pread(events, &header, sizeof header, 0) == (ssize_t)sizeof header);
  // One page where less than a header is used, two pages for 5000 bytes, and the whole chunk twice.
  CHECK(header.next_offset == 4096 + 3 * 4096 + 8192 + 2 * NREC_MEMORY_CHUNK);
  nrec_chunk_header first;
  CHECK(pread(events, &first, sizeof first, 4096) == (ssize_t)sizeof first && first.size == 4096);
  close(memory), close(events);
}

// A process was killed after it reserved two places: one is half filled, in the other nothing is
// written. The saved chunks go behind both.
void check_salvage_of_half(void) {
  for (int is_saved = 0; is_saved < 2; is_saved++) {
    int memory = nrc_shared_memory(), events = memfd_create("events", MFD_CLOEXEC);
    nrec_file_header header = {.magic = NREC_FILE_MAGIC,
                               .next_offset = NREC_PAGE + 2 * NREC_MEMORY_CHUNK};
    nrec_chunk_header chunk = {.magic = NREC_CHUNK_MAGIC, .size = NREC_MEMORY_CHUNK,
                               .state = NREC_MEMORY_CHUNK - 1};
    CHECK(pwrite(events, &header, sizeof header, 0) == (ssize_t)sizeof header);
    CHECK(pwrite(events, &chunk, sizeof chunk, NREC_PAGE) == (ssize_t)sizeof chunk);
    if (is_saved) CHECK(pwrite(memory, &chunk, sizeof chunk, 0) == (ssize_t)sizeof chunk);
    CHECK(nrc_salvage(memory, events) == is_saved);
    CHECK(pread(events, &header, sizeof header, 0) == (ssize_t)sizeof header);
    uint64_t end = is_saved ? NREC_PAGE + 3 * NREC_MEMORY_CHUNK : 2 * NREC_PAGE;
    CHECK(header.next_offset == end);
    if (is_saved) {
      CHECK(pread(events, &chunk, sizeof chunk, NREC_PAGE + 2 * NREC_MEMORY_CHUNK) ==
            (ssize_t)sizeof chunk);
      CHECK(chunk.magic == NREC_CHUNK_MAGIC);
    }
    close(memory), close(events);
  }
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
