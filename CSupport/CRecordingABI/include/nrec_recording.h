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
//   arena         the memory that the recorder and all traced processes share: where chunks are kept
//                 until the recorder has written them (nrec_arena.h)
//   ring          the chunks of a thread under the flight recorder: as many as it was asked for
//   function      a number of the process: call site i of a module, in the order of its table, is
//                 number first_function + i of that module's generation. Readers map numbers to
//                 names by PID-N.modules and symbols/, never by an address
//
// FILES OF A RECORDING
//
//   session.json      by the recorder: schema, command, tracer, clock
//   processes         by the recorder, JSON lines: those that joined, those that are missing
//   PID-N.events      by the recorder, from what the agents put into the arena
//   PID-N.modules     by the recorder, JSON lines: modules that came and went
//   symbols/BUILDID   by the recorder, text lines: the names of a module's call sites
//
// A CHUNK OF EVENTS
//
//   NREC_CHUNK_BYTES
//   +-------------------+-----------------------+----------------------+--------+
//   | nrec_chunk_header | functions open at its | events               | free   |
//   |                   | beginning, outermost  |                      |        |
//   |                   | first: uint32_t each  |                      |        |
//   +-------------------+-----------------------+----------------------+--------+
//                                                                      ^
//            state = time of the last event << 16 | bytes used, header included
//
// Only its thread adds events: it stores an event behind the last one and then commits it by one
// store of the state. Where threads have an rseq area, a signal between the two undoes the store;
// where they have none, signals are blocked.
//
//   event file: little-endian throughout
//   +------------------+---------------+---------------+-------------------------+
//   | nrec_file_header | chunk of      | chunk of      | chunk of counters,      |
//   | one page         | events, as    | events        | as its thread or its    |
//   |                  | whole pages   |               | process ended           |
//   +------------------+---------------+---------------+-------------------------+
//                                                                                ^ next_offset
//
// TRADE-OFFS
//
//   - Each chunk belongs to one thread, so that an event costs no lock and no shared cache line. The
//     price is 64 KiB for each thread.
//   - Events go to memory and are written 64 KiB at a time, by another process. So the hot path has
//     no page fault of a file system, and the program has no descriptor of the recording. Where the
//     program is killed, the recorder writes what it had recorded. Where the recorder is killed,
//     what was in memory is lost: at most one chunk of each thread, and all counters.
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
//   0111 0000 (70)    8+4n SWITCH   24 bits: n; 32 bits: the stack on which the thread runs from now
//                                   on; n numbers of functions that are open there, outermost first,
//                                   where this chunk has not listed them before. 0: its own stack
//   1000 0000 (80)    8    SPLIT    24 bits: how many innermost functions belong to another stack,
//                                   which is suspended; 32 bits: that stack's number
//   1001 0000 (90)    8+n  VALUES   8 bits: 0 arguments, of the ENTRY behind it, or 1 what is returned,
//                                   by the EXIT behind it; 16 bits: n; 32 bits: the function; n bytes
//
// VALUES hold one value behind the other, as symbols/BUILDID.args has their types. Each begins with a
// byte: how many bytes it has, and NREC_VALUE_CUT where it was longer; or one of the marks below.
//
// The tracer `function` writes no EXIT. It records where each ENTRY was called from: an ENTRY of 8
// bytes is followed by its PARENT, and from then on the two have a number in their chunk,
// nrec_pair. An ENTRY of 2, 3 or 4 bytes contains such a number in place of its function's number.
// It stands for the pair that was last defined with that number.

#ifndef NREC_RECORDING_H
#define NREC_RECORDING_H

#include <stdint.h>

#define NREC_VERSION 3u
#define NREC_OLDEST_VERSION 2u                   // that is read: it has no SWITCH and no SPLIT
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
  NREC_EVENT_SWITCH = 0x70,
  NREC_EVENT_SPLIT = 0x80,
  NREC_EVENT_VALUES = 0x90,
};

/// The first byte of a value.
enum {
  NREC_VALUE_CUT = 0x80,        ///< with a text's length: there was more
  NREC_VALUE_NULL = 0xfe,       ///< a null pointer in place of a text
  NREC_VALUE_UNREADABLE = 0xff,
};
enum { NREC_MOST_VALUES = 16 };     ///< of one VALUES
enum { NREC_LONGEST_TEXT = 96 };    ///< bytes of a text that are recorded
enum { NREC_LONGEST_VALUES = NREC_MOST_VALUES * (1 + NREC_LONGEST_TEXT) };

enum { NREC_ALL_OPEN = 0xffffff };  ///< of UNWOUND
/// Before a chunk's open functions: they are another stack's than the thread's own, whose number
/// follows.
#define NREC_OTHER_STACK 0xffffffffu

enum { NREC_PAIRS = 8192 };
/// The number of a function and the return address that it was called with.
static inline uint32_t nrec_pair(uint32_t function, uint64_t parent) {
  return ((uint32_t)parent + 9 * function) & (NREC_PAIRS - 1);
}

enum { NREC_CHUNK_BYTES = 65536 };  ///< of events; the longest

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
  uint64_t end_time, end_realtime_nanoseconds;      ///< 0: not known
  uint64_t next_offset;               ///< where the next chunk goes: the file's used length. By
                                      ///< the recorder, as lost_chunks
  uint64_t lost_events;               ///< in all, one by one, for want of space
  uint64_t lost_chunks;               ///< in all, with all their events, for want of space
  uint64_t waits, wait_nanoseconds;   ///< times the program waited for a free chunk
  uint64_t calls;                     ///< tracers without events: calls in all
} nrec_file_header;

enum {
  NREC_FLAG_OVERWRITE = 1,    ///< flight recorder: the oldest chunks of a thread are reused
  NREC_FLAG_ENDED = 2,        ///< the agent closed the file properly
  NREC_FLAG_CORRUPTED = 4,    ///< an anomaly turned the tracer off; events may be missing
  NREC_FLAG_FULL = 8,         ///< no space was left: later events are only counted
  NREC_FLAG_SHARED = 16,      ///< a thread's recording ended early: a clone(2) child had its
                              ///< thread-local storage. Its later events are only counted
  NREC_FLAG_CONFINED = 32,    ///< the program installed a system call filter that forbids
                              ///< patching: what it loaded later is not traced
  NREC_FLAG_NO_CLOCK = 64,    ///< a thread's recording ended early: it may not read the time stamp
                              ///< counter. Its later events are only counted
  NREC_FLAG_LOST_RETURN = 128,  ///< with CORRUPTED: a function returned, and where to was not known.
                                ///< The program was ended
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
  NREC_CHUNK_MESSAGES = 5,    ///< never in a file: nrec_arena.h
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
