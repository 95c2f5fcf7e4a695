// SPDX-License-Identifier: Apache-2.0
//
// The format of a recording in memory and in files: the agent (C, in the traced program) writes it,
// the recorder (Swift, `nopscope record`) completes it, and the readers (Swift) read it.
//
// TERMS
//
//   recording     a directory: session.json and processes, and for each program image the files below
//   image         a program that a process runs; an exec begins another. N counts those of a PID
//   unit          of time: 2^time_shift ticks of the time stamp counter (TSC). The shift is 1: a
//                 unit is below a nanosecond where the TSC has 2 GHz or more
//   chunk         a header and what one thread recorded: events, or counters. It can be read
//                 without any other
//   event         one call's entry or exit, in 1 to 8 bytes
//   event file    PID-N.events: a page of header, then chunks, each beginning at a page
//   memory file   an unnamed file (memfd) that the agent maps and the recorder holds open: where
//                 chunks of events are kept until they are written
//   ring          a thread's part of the memory file: two chunks, or as many as the flight recorder
//                 was asked for
//   function      a number of the process: call site i of a module, in the order of its table, is
//                 number first_function + i of that module's generation. Readers map numbers to
//                 names by PID-N.modules and symbols/, never by an address
//
// FILES OF A RECORDING
//
//   session.json      by the recorder: schema, command, tracer, clock
//   processes         by the recorder, JSON lines: those that joined, those that are missing
//   PID-N.events      by the agent; the recorder appends what the agent could not write
//   PID-N.modules     by the recorder, JSON lines: modules that came and went
//   symbols/BUILDID   by the recorder, text lines: the names of a module's call sites
//
// MEMORY
//
//   memory file: sparse, NREC_MEMORY_BYTES
//   +-----------------------------+-----------------------------+----------------------------
//   | ring of thread A            | ring of thread B            | not in use
//   |  chunk 0     |  chunk 1     |  chunk 0     |  chunk 1     |
//   +-------|------+--------------+--------------+--------------+----------------------------
//           |
//           |   a chunk of events: NREC_MEMORY_CHUNK bytes
//           |   +-------------------+-----------------------+----------------------+--------+
//           +-> | nrec_chunk_header | functions open at its | events               | free   |
//               |                   | beginning, outermost  |                      |        |
//               |                   | first: uint32_t each  |                      |        |
//               +-------------------+-----------------------+----------------------+--------+
//                                                                                  ^
//                        state = time of the last event << 16 | bytes used, header included
//
//   event file: little-endian throughout
//   +------------------+---------------+---------------+-------------------------+-----------
//   | nrec_file_header | chunk of      | chunk of      | chunk of counters,      | ...
//   | one page         | events, as    | events        | mapped by its thread    |
//   |                  | whole pages   |               |                         |
//   +------------------+---------------+---------------+-------------------------+-----------
//                                                                                ^ next_offset
//
// STATES OF A CHUNK OF EVENTS
//
//   free      its magic is 0. Its thread may begin it.
//   current   its magic is NREC_CHUNK_MAGIC. Only its thread adds events: it stores an event
//             behind the last one and then commits it by one store of the state.
//   full      no further event fits. Nothing changes it until its turn in the ring comes again: a
//             signal handler may have interrupted a store into it, which finishes afterwards.
//
//   from           to             by           how
//   free           current        its thread   writes header and open functions, the magic last
//   current        full           its thread   begins the next chunk of its ring
//   full           free           its thread   appends it to the event file, clears the magic
//   full           current        its thread   flight recorder: writes over the oldest chunk
//   current, full  free           its thread   at its end: appends its ring, the oldest first
//   current, full  (appended)     the recorder once the process has ended: what still has a magic
//
// A thread that is killed between appending a chunk and clearing its magic leaves a chunk that the
// recorder appends again. Readers recognise it by thread serial and sequence. Chunks of counters
// have no such states: their thread maps them from the event file and counts there until it ends.
//
// TRADE-OFFS
//
//   - Each ring belongs to one thread, so that an event costs no lock and no shared cache line. The
//     price is 128 KiB for each thread.
//   - Events go to memory and are written 64 KiB at a time, so that the hot path has no page fault
//     of a file system. SIGKILL loses nothing, since the recorder has the memory file too. If both
//     are killed at once, two chunks of each thread are lost.
//   - End and time are one word. So an event is present with its time or not at all, and a signal
//     handler between two events finds the chunk consistent.
//   - Each chunk says which functions were open when it began. For 4 bytes per open function, it
//     can be read when chunks before it are lost or were overwritten.
//
// EVENTS
//
// Each event has the time since the event before it in its chunk; the first event has the time
// since the chunk's base time. No event begins with a zero byte.
//
//   first byte      bytes  event
//   …dddd dd01        1    EXIT     delta 6 bits                      the innermost open function
//   …dddd dd11        2    EXIT     delta 14 bits
//   …dddd dd10        2    ENTRY    delta 6 bits, function 8 bits
//   …dddd d100        3    ENTRY    delta 8 bits, function 13 bits    (little-endian 24-bit word)
//   …dddd 1000        4    ENTRY    delta 15 bits, function 13 bits   (little-endian 32-bit word)
//   0001 0000 (10)    8    TIME     56 bits: time that passes; the next event's delta is added
//   0010 0000 (20)    4    UNWOUND  24 bits: how many innermost functions ended without returning
//                                   (exception, longjmp, thread exit), at the last event's time.
//                                   A TIME before it says when they were unwound, if that is known.
//                                   NREC_ALL_OPEN: all that are open
//   0011 0000 (30)    8    EXIT_AT  delta 24 bits, 32 bits: how many open functions lie outside the
//                                   one that returned (another stack's are inside it)
//   0100 0000 (40)    8    LOST     56 bits: how many events were not recorded here
//   0101 0000 (50)    8    PARENT   48 bits of return address, 8 bits 0: of the ENTRY before it
//   0110 0000 (60)    8    ENTRY    delta 24 bits, function 32 bits
//
// The tracer `function` writes no EXIT. It records where each ENTRY was called from: an ENTRY of 8
// bytes is followed by its PARENT, and from then on the two have a number in their chunk,
// nrec_pair. An ENTRY of 2, 3 or 4 bytes contains such a number in place of its function's number.
// It stands for the pair that was last defined with that number.

#ifndef NREC_RECORDING_H
#define NREC_RECORDING_H

#include <stdint.h>

#define NREC_VERSION 2u
#define NREC_FILE_MAGIC 0x0143455253504f4eull   // "NOPSREC\1"
#define NREC_CHUNK_MAGIC 0x4b48434eu            // "NCHK"

enum { NREC_PAGE = 4096, NREC_TIME_SHIFT = 1 };

/// First bytes of the events that have a byte to themselves.
enum {
  NREC_EVENT_TIME = 0x10,
  NREC_EVENT_UNWOUND = 0x20,
  NREC_EVENT_EXIT_AT = 0x30,
  NREC_EVENT_LOST = 0x40,
  NREC_EVENT_PARENT = 0x50,
  NREC_EVENT_ENTRY = 0x60,
};

enum { NREC_ALL_OPEN = 0xffffff };  ///< of UNWOUND

enum { NREC_PAIRS = 8192 };
/// The number of a function and the return address that it was called with.
static inline uint32_t nrec_pair(uint32_t function, uint64_t parent) {
  return ((uint32_t)parent + 9 * function) & (NREC_PAIRS - 1);
}

/// Size of the memory file, and of a chunk of events in it. Chunks begin at multiples of their
/// size.
#define NREC_MEMORY_BYTES ((uint64_t)1 << 36)
enum { NREC_MEMORY_CHUNK = 65536 };

enum {
  NREC_TRACER_GRAPH = 1,      ///< function_graph: entry and exit
  NREC_TRACER_FUNCTION = 2,   ///< entry and caller
  NREC_TRACER_CALLGRAPH = 3,  ///< merged call tree with counts, no events
  NREC_TRACER_PROFILE = 4,    ///< hits and times per function and thread, no events
  NREC_TRACER_HITS = 5,       ///< hits per function and thread, no times, no events
};

typedef struct nrec_file_header {
  uint64_t magic;
  uint32_t version, header_size;      ///< NREC_VERSION, sizeof this
  int32_t process, parent;            ///< process ids
  uint32_t incarnation;               ///< N of the file's name
  uint32_t tracer, time_shift;
  uint32_t flags;                     ///< NREC_FLAG_*
  uint64_t start_time, start_realtime_nanoseconds;  ///< the same moment, in units and in ns
  uint64_t end_time, end_realtime_nanoseconds;      ///< at the proper end; 0: there was none
  uint64_t next_offset;               ///< where the next chunk goes: the file's used length
  uint64_t lost_events;               ///< in all, one by one, for want of space
  uint64_t lost_chunks;               ///< in all, with all their events, for want of space
  uint64_t waits, wait_nanoseconds;   ///< times the program waited for the disk
  uint64_t calls;                     ///< tracers without events: calls in all
} nrec_file_header;

enum {
  NREC_FLAG_OVERWRITE = 1,    ///< flight recorder: the oldest chunks of a thread are reused
  NREC_FLAG_ENDED = 2,        ///< the agent closed the file properly
  NREC_FLAG_CORRUPTED = 4,    ///< an anomaly turned the tracer off; events may be missing
  NREC_FLAG_FULL = 8,         ///< no space was left: later events are only counted
  NREC_FLAG_SHARED = 16,      ///< a thread's recording ended early: a clone(2) child had its
                              ///< thread-local storage. Its later events are only counted
};

typedef struct nrec_chunk_header {
  uint32_t magic, size;       ///< NREC_CHUNK_MAGIC; bytes of the chunk, header included
  int32_t thread;             ///< kernel thread id
  uint32_t thread_serial;     ///< of the process: a thread id may come again
  uint32_t sequence;          ///< of the thread, from 0: a gap means chunks were overwritten
  uint32_t kind;              ///< NREC_CHUNK_*
  uint32_t lost_events;       ///< of the thread before this chunk; all ones: this or more
  uint32_t open_functions;    ///< uint32_t numbers that follow the header
  uint64_t base_time;         ///< absolute, in units
  uint64_t state;             ///< events: time of the last << 16 | bytes used, header included
  char thread_name[16];       ///< /proc/self/task/TID/comm when the chunk was begun
} nrec_chunk_header;

enum {
  NREC_CHUNK_EVENTS = 1,
  NREC_CHUNK_CALL_TREE = 2,   ///< nrec_tree_node[]
  NREC_CHUNK_PROFILE = 3,     ///< nrec_profile_entry[]
  NREC_CHUNK_HITS = 4,        ///< uint64_t calls by function number; a thread's last one counts
};

/// A node of a thread's merged call tree. The thread's CALL_TREE chunks, in order of sequence, are
/// one array. Node 0 is the root, and a parent precedes its children. A node behind the first with
/// no calls and parent 0 is unused. Calls on stacks other than the thread's own (a signal's, a
/// coroutine's) are children of the root.
typedef struct nrec_tree_node {
  uint32_t function, parent;  ///< parent: index of the node in the thread's tree
  uint64_t calls;
} nrec_tree_node;

/// One function of one thread. A PROFILE chunk holds one entry for every function number from 0; a
/// thread's last chunk counts. Times are in units. `calls` counts entries, the other fields count
/// calls that ended. total_time leaves out calls inside another call of the same function.
/// self_time is signed: a function that is still open has lost its callees' time and not yet got
/// its own. Squares of inclusive times are a 128-bit sum.
typedef struct nrec_profile_entry {
  uint32_t ended_calls, open_calls;
  uint64_t calls, total_time;
  int64_t self_time;
  uint64_t minimum_time, maximum_time;
  uint64_t squares_low, squares_high;
  uint64_t sum_time;          ///< inclusive times of all calls that ended, nested ones too
} nrec_profile_entry;

_Static_assert(sizeof(nrec_profile_entry) == 72, "a profile entry is 72 bytes");
_Static_assert(sizeof(nrec_chunk_header) == 64, "a chunk header is 64 bytes");
_Static_assert(sizeof(nrec_file_header) <= NREC_PAGE, "the file header fits its page");

#endif
