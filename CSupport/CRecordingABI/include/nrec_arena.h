// SPDX-License-Identifier: Apache-2.0
//
// The arena: the memory that the recorder and all processes of a recording share. The agents put
// events, counters and messages there; the recorder writes the event files, and answers. So a traced
// process holds no file and no socket of the recording.
//
// MEMORY
//
//   arena: one unnamed file (memfd). Nobody can make it shorter.
//   +--------+-------------------+----------------------+---------+---------+---------+------------
//   | head   | processes: the    | table: who has which | chunk 0 | chunk 1 | chunk 2 | not there
//   |        | files' headers    | chunk                | 64 KiB  |         |         | yet
//   +--------+-------------------+----------------------+---------+---------+---------+------------
//            ^ NREC_PAGE         ^ table                ^ data                        ^ chunk_count
//
// The recorder allocates the pages of a chunk and of its entry in the table before it raises
// `chunk_count`, and those of a process before it raises `place_count`. So a store to them never
// faults, also where the machine has no memory left. Agents map the whole range at once; the file
// grows under the mapping.
//
// CHUNKS
//
// The owner word of a chunk's table entry says who has it:
//
//   0                          free. An agent takes it by one compare-and-swap.
//   process, NREC_OWNED        an agent has it and adds to it.
//   process, NREC_FULL         the recorder is to write it, or read it, and to free it.
//   process, NREC_KEPT         an agent has it; it is no chunk of its own to the recorder: part of
//                              a longer one, or replaced by a newer one.
//   process, NREC_ANSWER       the recorder's answer to a message. The agent frees it.
//
//   from      to          by             how
//   free      owned       an agent       takes the first that is free
//   owned     full        its agent      no further event fits, or the thread ends
//   owned     kept        its agent      its counters have been copied to a longer chunk
//   full      free        the recorder   has written it
//   free      answer      the recorder   answers a message
//   answer    free        its agent      has read the answer
//   any       free        the recorder   the process has ended: what was owned is written before
//
// A chunk of counters, or an answer, may be longer than 64 KiB: then it is several neighbours, the
// others kept. `link` connects chunks: those of a flight recorder in a ring, those of counters and
// answers from the newest to the oldest (the number of the entry, plus 1).
//
// PROCESSES
//
//   free      claimed     a forked child   takes the first that is free, names the image that it is
//                                          a copy of, and fills the header, its magic last
//   free      joined      the recorder     answers a HELLO
//   claimed   joined      the recorder     has made its event file
//   joined    free        the recorder     the process has ended, and all of its chunks are free
//
// A claim costs no system call: a child may have given up every right before its first traced call.
// Where no place is free, the child waits for one, some seconds at most, as a thread waits for a
// chunk: children may end sooner than the recorder takes over their events. The last eighth of the
// places is for programs that begin.
//
// MESSAGES
//
// A chunk of the kind NREC_CHUNK_MESSAGES holds messages (nrec_messages.h), each behind its length.
// Chunks of messages of one process are numbered from 0, and the recorder reads them in this order.
//
// THE GATE
//
// Where a recording begins later than the program or ends earlier, `gate` says whether anything is
// recorded now, in all processes. Else no agent looks at it.
//
//   shut      waits or open  the recorder     the delay is over
//   waits     open           an agent         a function with NREC_SITE_START is entered
//   open      over           an agent         a function with NREC_SITE_STOP is entered
//   open      over           the recorder     the duration is over
//
// SNAPSHOTS
//
// Under the flight recorder the recorder may copy all rings while the program runs on. It does so
// for its own reasons, or because an agent made a request:
//
//   none      begun       an agent       has taken this request, and fills it; sets `is_held`
//   begun     made        an agent       has filled it, and rings the bell
//   made      none        the recorder   has read it, and copies the rings
//   begun     none        the recorder   nobody fills it: its process was killed
//
// While `is_held` is set no agent uses the oldest chunk of a ring again, and the recorder frees no
// chunk of events but a dead process's. The recorder clears it once it has copied the rings. A chunk
// that was just being begun when it was set is told by its magic and its sequence, which change: the
// copy is left out.
//
// TRADE-OFFS
//
//   - A search through the table instead of a list of free chunks: it cannot be left half changed by
//     a process that is killed, one wild store spoils one chunk, and there is no lock. The search is
//     short, because the recorder frees chunks within milliseconds and the first free one is taken.
//   - All processes share one arena. A program that writes to it by a stray pointer can spoil what
//     the others record, as it can spoil its own data; it cannot reach the files.

#ifndef NREC_ARENA_H
#define NREC_ARENA_H

#include "nrec_messages.h"
#include "nrec_recording.h"

#define NREC_ARENA_MAGIC 0x01414e4552415250ull
#define NREC_ARENA_NAME "nopscope-arena"

/// At most; fewer where files may not be long.
enum {
  NREC_ARENA_PROCESSES = 2048,     ///< at a time
  NREC_ARENA_CHUNKS = 65536,       ///< 4 GiB
};

enum { NREC_OWNED = 1, NREC_FULL = 2, NREC_KEPT = 3, NREC_ANSWER = 4 };
/// The owner word of a process (its place in `processes`) and a state.
static inline uint32_t nrec_owner(uint32_t process, uint32_t state) {
  return (process + 1) | state << 16;
}

enum { NREC_PLACE_FREE = 0, NREC_PLACE_CLAIMED = 1, NREC_PLACE_JOINED = 2 };

/// A place for one process.
typedef struct nrec_arena_process {
  _Alignas(64) nrec_file_header header;  ///< the event file's, with the agent's fields
  _Alignas(64) uint32_t state;  ///< NREC_PLACE_*
  uint32_t image;               ///< number of the image: no other has it
  uint32_t copied;              ///< claimed: the image that it is a copy of
  int32_t thread;               ///< claimed: the id of its first thread, in its own PID namespace;
                                ///< 0: not known
  uint32_t answers;             ///< futex: the newest answer's entry, plus 1; 0: there is none
} nrec_arena_process;

/// A message in a chunk of messages; the next one begins at the next multiple of 8.
typedef struct nrec_mail {
  uint32_t length, unused;
  uint8_t message[];
} nrec_mail;

/// An answer: a plan, its entries behind it, and its fetches behind those.
typedef struct nrec_answer {
  nrec_plan_message plan;
  nrec_plan_entry entries[];
} nrec_answer;

typedef struct nrec_arena_chunk {
  uint32_t owner, link;
} nrec_arena_chunk;

/// Where the parts are. Each side keeps a copy that the other cannot change.
typedef struct nrec_arena_layout {
  uint32_t processes, chunks;   ///< how many there may be
  uint32_t table, data;         ///< offsets
} nrec_arena_layout;

enum { NREC_REQUEST_NONE = 0, NREC_REQUEST_BEGUN = 1, NREC_REQUEST_MADE = 2 };
enum { NREC_REQUESTS = 8 };  ///< at a time

/// An agent asks for a snapshot.
typedef struct nrec_request {
  uint32_t state;               ///< NREC_REQUEST_*
  uint32_t place;               ///< of its process
  uint32_t function;            ///< whose call was slow
  int32_t thread;
  uint64_t spent;               ///< in units
  char thread_name[16];
} nrec_request;

enum { NREC_GATE_OPEN = 0, NREC_GATE_SHUT = 1, NREC_GATE_WAITS = 2, NREC_GATE_OVER = 3 };

typedef struct nrec_arena {
  uint64_t magic;
  nrec_arena_layout layout;
  uint32_t chunk_count;         ///< chunks that are there; only grows
  uint32_t place_count;         ///< places that are there; only grows
  uint32_t is_closed;           ///< 1: the recording has ended
  uint32_t is_full;             ///< 1: no chunk will be added
  _Alignas(64) uint32_t freed;  ///< futex: changes when chunks were freed or added
  uint32_t waiters;             ///< how many wait for that
  uint32_t wanted;              ///< so many neighbours were looked for in vain; 0: none were
  uint32_t claims;              ///< changes when a child has claimed a place
  uint32_t last_image;          ///< the highest number that an image has
  uint32_t is_stuck;            ///< 1: somebody has waited in vain, and nothing was freed since
  _Alignas(64) uint32_t bell;   ///< futex: changes when the recorder is to look
  uint32_t sleeps;              ///< 1: the recorder waits for the bell
  uint32_t is_polled;           ///< 1: some process may not wake it: it looks each millisecond
  _Alignas(64) uint32_t alive[16];  ///< a robust mutex that the recorder holds; see nrec_is_dead
  _Alignas(64) uint32_t gate;   ///< NREC_GATE_*
  uint32_t takes_none;          ///< 1: no snapshot is taken any more
  uint32_t thread_rules_met;    ///< rules of nrec_config.threads that a thread's name has matched:
                                ///< bit i is rule i; agents set bits
  _Alignas(64) uint32_t is_held;  ///< 1: rings are being copied, or are about to be
  uint32_t requests_missed;     ///< all were taken
  nrec_request requests[NREC_REQUESTS];
} nrec_arena;

static inline uint64_t nrec_arena_bytes(const nrec_arena_layout *layout) {
  return layout->data + (uint64_t)layout->chunks * NREC_CHUNK_BYTES;
}

/// The layout of an arena of at most so many bytes; all zero: not even a process has room.
static inline nrec_arena_layout nrec_arena_plan(uint64_t most_bytes) {
  const uint64_t page = NREC_PAGE, entry = sizeof(nrec_arena_chunk);
  nrec_arena_layout layout = {NREC_ARENA_PROCESSES, NREC_ARENA_CHUNKS, 0, 0};
  if (most_bytes < 2 * page) return (nrec_arena_layout){0, 0, 0, 0};
  if (most_bytes < 64 * (uint64_t)NREC_CHUNK_BYTES)
    layout.processes = NREC_PAGE / sizeof(nrec_arena_process);
  layout.table = (uint32_t)(page + layout.processes * sizeof(nrec_arena_process));
  uint64_t room = most_bytes - layout.table, chunks = room / (NREC_CHUNK_BYTES + entry);
  // The table ends at a page's end.
  if (chunks > 0 && (chunks * entry + page - 1) / page * page + chunks * NREC_CHUNK_BYTES > room)
    chunks--;
  if (chunks < layout.chunks) layout.chunks = (uint32_t)chunks;
  layout.data = (uint32_t)(layout.table + (layout.chunks * entry + page - 1) / page * page);
  return layout;
}

/// Of so many places, how many are for forked children too. The others are for programs that begin: a
/// child waits for a place, and a program's HELLO does not.
static inline uint32_t nrec_arena_claimable(uint32_t places) { return places - places / 8; }

static inline nrec_arena_process *nrec_arena_place(nrec_arena *arena, uint32_t place) {
  return &((nrec_arena_process *)((uint8_t *)arena + NREC_PAGE))[place];
}

static inline nrec_arena_chunk *nrec_arena_entry(nrec_arena *arena, const nrec_arena_layout *layout,
                                                 uint32_t index) {
  return &((nrec_arena_chunk *)((uint8_t *)arena + layout->table))[index];
}

static inline uint8_t *nrec_arena_chunk_at(nrec_arena *arena, const nrec_arena_layout *layout,
                                           uint32_t index) {
  return (uint8_t *)arena + layout->data + (uint64_t)index * NREC_CHUNK_BYTES;
}

/// Whether the recorder's process has ended: the kernel says so in the word of a robust mutex that
/// its writing thread holds. See get_robust_list(2).
static inline int nrec_is_dead(const nrec_arena *arena) {
  return (__atomic_load_n(&arena->alive[0], __ATOMIC_RELAXED) & 0x40000000) != 0;
}

_Static_assert(sizeof(nrec_arena) <= NREC_PAGE, "the head is a page");
_Static_assert(sizeof(nrec_arena_process) == 192, "a place is three cache lines");
_Static_assert(NREC_ARENA_PROCESSES < 65535, "the owner word has 16 bits for it");

#endif
