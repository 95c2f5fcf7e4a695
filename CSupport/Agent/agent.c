// SPDX-License-Identifier: Apache-2.0
//
// The agent's beginning and end. Linked `-z initfirst`, so that the constructor runs before the
// program's own and its libraries': every module that is loaded then is treated before any of its
// code runs. environ is not set up yet; the constructor's arguments have it.

#include <sys/auxv.h>

#include "agent.h"
#include "syscalls.h"

nag_process *nag_process_state;
nag_shared nag_config;

void nag_thread_prepare(void);

static const char *environment(char **variables, const char *name) {
  for (; variables && *variables; variables++) {
    size_t i = 0;
    while (name[i] && (*variables)[i] == name[i]) i++;
    if (name[i] == 0 && (*variables)[i] == '=') return *variables + i + 1;
  }
  return NULL;
}

static uint64_t realtime(void) {
  struct timespec time = {0};
  NAG_CALL(SYS_clock_gettime, 0 /* CLOCK_REALTIME */, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

// The event file's first page.
static bool map_header(nag_process *process, uint32_t flags) {
  if (!nag_make_space(process->events, 0, NREC_PAGE)) return false;
  nrec_file_header *header = nag_mmap(NULL, NREC_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
                                      process->events, 0);
  if (header == NULL) return false;
  *header = (nrec_file_header){
    .version = NREC_VERSION, .header_size = sizeof *header, .process = nag_process_id(),
    .parent = (int32_t)NAG_CALL(SYS_getppid), .incarnation = nag_config.config.incarnation,
    .tracer = nag_config.config.tracer, .time_shift = NREC_TIME_SHIFT, .flags = flags,
    .start_time = nag_time(), .start_realtime_nanoseconds = realtime(),
    .next_offset = NREC_PAGE,
  };
  header->magic = NREC_FILE_MAGIC;
  process->header = header;
  return true;
}

// Without a recorder the process is marked so that nobody asks again.
static bool give_up(nag_process *process) {
  if (process->socket >= 0) NAG_CALL(SYS_close, process->socket);
  process->socket = process->events = process->memory = -1;
  process->header = NULL;
  process->id = nag_process_id();
  return false;
}

// The parent's: while the child held its socket, the recorder would not see it end. Behind the child's
// own connection: without any the recorder, whose program may be gone, would take the child for gone too.
static void close_inherited(void) {
  for (int i = 0; i < 3; i++) {
    if (nag_config.descriptors[i] > 0) NAG_CALL(SYS_close, nag_config.descriptors[i]);
    nag_config.descriptors[i] = 0;
  }
}

bool nag_join(uint32_t begin) {
  nag_process *process = nag_process_state;
  nrec_hello hello = {
    .message = NREC_MESSAGE_HELLO, .version = NREC_MESSAGE_VERSION, .process = nag_process_id(),
    .parent = (int32_t)NAG_CALL(SYS_getppid), .begin = begin, .time = nag_time(),
    .copied = begin == NREC_BEGIN_FORK ? nag_config.joined : 0,
  };
  nrec_config config;
  int files[2] = {-1, -1};
  process->events = process->memory = -1;
  process->socket = nag_connect(nag_config.socket_path);
  if (begin == NREC_BEGIN_FORK) close_inherited();
  if (process->socket < 0 || !nag_send(&hello, sizeof hello) ||
      nag_receive(&config, sizeof config, files, 2) != (int64_t)sizeof config ||
      config.message != NREC_MESSAGE_CONFIG || config.version != NREC_MESSAGE_VERSION ||
      files[1] < 0) {
    for (int i = 0; i < 2; i++)
      if (files[i] >= 0) NAG_CALL(SYS_close, files[i]);
    return give_up(process);
  }
  nag_config.config = config;
  process->events = files[0];
  process->memory = files[1];
  process->memory_bytes = nag_file_bytes(files[1]);
  nag_config.descriptors[0] = process->socket;
  nag_config.descriptors[1] = process->events;
  nag_config.descriptors[2] = process->memory;
  if (!map_header(process, config.flags & NREC_FLAG_OVERWRITE)) return give_up(process);
  process->id = nag_config.joined = hello.process;
  return true;
}

// ret, endbr64 and the nops that compilers pad with: all that the loader's slot may hold.
static bool is_padding(void *context, uint8_t kind, uint8_t length, uint64_t target,
                       uint64_t address, const uint8_t *bytes) {
  (void)context, (void)target, (void)address;
  enum { NOP = 3, RETURN = 4, ENDBR64 = 7 };
  if (kind == RETURN) return length == 1 && bytes[0] == 0xc3;
  if (kind == ENDBR64)
    return length == 4 && bytes[0] == 0xf3 && bytes[1] == 0x0f && bytes[2] == 0x1e &&
           bytes[3] == 0xfa;
  if (kind != NOP) return false;
  uint8_t i = 0;
  while (i < length && (bytes[i] == 0x66 || bytes[i] == 0x2e)) i++;
  if (i + 1 == length && bytes[i] == 0x90) return true;
  if (i + 2 >= length || bytes[i] != 0x0f || bytes[i + 1] != 0x1f) return false;
  uint8_t mode = bytes[i + 2] >> 6, base = bytes[i + 2] & 7;
  uint8_t size = (uint8_t)(i + 3 + (base == 4 && mode != 3) + (mode == 1 ? 1 : mode == 2 ? 4 : 0));
  return size == length;
}

static void changed(int event, void *context) {
  (void)context;
  if (event == NPC_LOADER_ADDED || event == NPC_LOADER_DELETED) nag_modules_changed();
}

static bool prepare(const char *path) {
  size_t i = 0;
  while (path[i]) i++;
  // A path cut short would be somebody else's.
  if (i >= sizeof nag_config.socket_path) return false;
  i = 0;
  while (path[i] && i + 1 < sizeof nag_config.socket_path) {
    nag_config.socket_path[i] = path[i];
    i++;
  }
  nag_process_state = nag_wiped_pages(sizeof *nag_process_state);
  return nag_process_state != NULL && nag_orphans_prepare();
}

__attribute__((constructor)) static void start(int count, char **arguments, char **variables) {
  (void)count, (void)arguments;
  const char *path = environment(variables, NREC_ENVIRONMENT);
  // With more privilege than its caller nothing in the environment is to be trusted. Of two agents
  // in one process the second does nothing: the sites are the first one's.
  if (getauxval(AT_SECURE) || npc_loader_hook_is_anothers()) return;
  if (path == NULL || *path == 0 || !prepare(path)) return;
  if (!nag_join(NREC_BEGIN_START)) return;
  nag_thread_prepare();
  nag_shadow_prepare();
  if (!nag_modules_start()) return;
  if (npc_loader_hook_install(is_padding, NULL) == 0) npc_loader_subscribe(changed, NULL);
}

__attribute__((destructor)) static void finish(void) {
  nag_process *process = nag_process_state;
  if (process == NULL || process->id != nag_process_id() || process->header == NULL) return;
  uint64_t signals = nag_block_signals();
  nag_buffer *buffer = nag_self.buffer;
  nag_self.buffer = NULL;
  if (buffer != NULL) nag_buffer_finish(buffer);
  nrec_file_header *header = process->header;
  header->end_time = nag_time();
  header->end_realtime_nanoseconds = realtime();
  __atomic_or_fetch(&header->flags, NREC_FLAG_ENDED, __ATOMIC_RELAXED);
  nag_restore_signals(signals);
}
