// SPDX-License-Identifier: Apache-2.0
//
// What a process had recorded and not written when it ended: chunks in the memory file that it
// shared with us. They are hostile input like the rest: nothing in them is followed.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "CRecordingABI.h"
#include "CRecorder.h"

int nrc_shared_memory(void) {
  int file = (int)syscall(SYS_memfd_create, "nopscope-buffers", MFD_CLOEXEC);
  // A limit on files counts here too; the agent asks for the size and keeps to it.
  uint64_t limit = nrc_file_size_limit(), bytes = NREC_MEMORY_BYTES;
  if (limit < bytes) bytes = limit - limit % NREC_MEMORY_CHUNK;
  if (file >= 0 && ftruncate(file, (off_t)bytes) != 0) {
    int error = errno;
    close(file);
    errno = error;
    return -1;
  }
  return file;
}

// The chunk's used bytes, as whole pages: the program that wrote the state is not to be trusted.
static size_t used_pages(const nrec_chunk_header *header) {
  size_t used = header->state & 0xffff;
  if (used < sizeof *header) used = sizeof *header;
  return (used + NREC_PAGE - 1) & ~(size_t)(NREC_PAGE - 1);
}

uint64_t nrc_file_size_limit(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return UINT64_MAX;
  return limit.rlim_cur;
}

static int append(int events, uint64_t *offset, uint8_t *chunk) {
  nrec_chunk_header header;
  memcpy(&header, chunk, sizeof header);
  size_t bytes = used_pages(&header);
  header.size = (uint32_t)bytes;
  memcpy(chunk, &header, sizeof header);
  for (size_t done = 0; done < bytes;) {
    ssize_t wrote = pwrite(events, chunk + done, bytes - done, (off_t)(*offset + done));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return -1;
    done += (size_t)wrote;
  }
  *offset += bytes;
  return 0;
}

static bool put(int events, const void *bytes, size_t size, off_t offset) {
  ssize_t wrote;
  do wrote = pwrite(events, bytes, size, offset);
  while (wrote < 0 && errno == EINTR);
  return wrote == (ssize_t)size;
}

// Behind the file's end and behind every place that was taken: who is killed while it fills one leaves
// a chunk that says how long it was to be, and what stood in the rest of it would be read as its own.
// A place out of all proportion was never taken.
static uint64_t first_free(const nrec_file_header *header, uint64_t end) {
  const uint64_t most = (uint64_t)1 << 30, next = header->next_offset;
  return next > end && next - end <= most && next % NREC_PAGE == 0 ? next : end;
}

int64_t nrc_salvage(int memory, int events) {
  static uint8_t chunk[NREC_MEMORY_CHUNK];
  nrec_file_header header;
  int64_t saved = 0, lost = 0;
  int error = 0;
  if (pread(events, &header, sizeof header, 0) != (ssize_t)sizeof header ||
      header.magic != NREC_FILE_MAGIC)
    return 0;  // it ended before it began
  off_t size = lseek(events, 0, SEEK_END);
  uint64_t end = size > NREC_PAGE ? (uint64_t)size : NREC_PAGE;
  end = (end + NREC_PAGE - 1) & ~(uint64_t)(NREC_PAGE - 1);
  uint64_t offset = first_free(&header, end);
  for (off_t at = 0; (at = lseek(memory, at, SEEK_DATA)) >= 0; at += NREC_MEMORY_CHUNK) {
    at -= at % NREC_MEMORY_CHUNK;
    uint32_t magic;
    if (pread(memory, chunk, sizeof chunk, at) != (ssize_t)sizeof chunk) break;
    memcpy(&magic, chunk, sizeof magic);
    if (magic != NREC_CHUNK_MAGIC) continue;
    if (append(events, &offset, chunk) == 0) {
      saved++;
    } else {
      if (lost++ == 0) error = errno;
    }
  }
  // What was taken and never begun is no part of the file. The first page is there: no space is needed.
  uint64_t used = saved > 0 ? offset : end;
  if ((saved > 0 || header.next_offset > end) &&
      !put(events, &used, sizeof used, offsetof(nrec_file_header, next_offset)))
    return -1;
  if (lost > 0) {
    uint64_t lost_chunks = header.lost_chunks + (uint64_t)lost;
    uint32_t flags = header.flags | NREC_FLAG_FULL;
    put(events, &lost_chunks, sizeof lost_chunks, offsetof(nrec_file_header, lost_chunks));
    put(events, &flags, sizeof flags, offsetof(nrec_file_header, flags));
  }
  if (lost > 0) {
    errno = error;
    return -1;
  }
  return saved;
}
