// SPDX-License-Identifier: Apache-2.0
//
// Saves what a process had recorded and not written when it ended: the chunks in the memory file
// that it shared with us. They are untrusted input like the rest: no offset or pointer in them is
// followed.

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
  // A limit on file sizes applies here too. The agent asks for this file's size and keeps to it.
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

// The chunk's used bytes, as whole pages. Checked, because the traced program may have written
// anything.
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

// Where new chunks go: behind the file's end, and behind every place that a thread has reserved. A
// thread that was killed while it filled a reserved place leaves a chunk whose header gives its
// full size, and readers would take whatever is in that range for a part of it. A reservation of an
// implausible size is ignored.
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
    return 0;  // the process ended before it wrote the header
  off_t size = lseek(events, 0, SEEK_END);
  uint64_t end = size > NREC_PAGE ? (uint64_t)size : NREC_PAGE;
  end = (end + NREC_PAGE - 1) & ~(uint64_t)(NREC_PAGE - 1);
  uint64_t offset = first_free(&header, end);
  for (off_t at = 0; (at = lseek(memory, at, SEEK_DATA)) >= 0; at += NREC_MEMORY_CHUNK) {
    at -= at % NREC_MEMORY_CHUNK;
    uint32_t magic;
    // The rest is read only where there is a chunk: the file may be of any size in between.
    if (pread(memory, &magic, sizeof magic, at) != (ssize_t)sizeof magic) break;
    if (magic != NREC_CHUNK_MAGIC) continue;
    if (pread(memory, chunk, sizeof chunk, at) != (ssize_t)sizeof chunk) break;
    if (append(events, &offset, chunk) == 0) {
      saved++;
    } else {
      if (lost++ == 0) error = errno;
    }
  }
  // Space that was reserved and never filled does not belong to the file. The first page exists
  // already, so this write needs no space.
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
