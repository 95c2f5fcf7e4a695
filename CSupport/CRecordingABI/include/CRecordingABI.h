// SPDX-License-Identifier: Apache-2.0
//
// What the agent (C, in the traced program), the recorder (Swift, `nopscope record`) and the readers
// share: the layout of a recording's event files, and the messages between agent and recorder.
//
// A recording is a directory:
//
//   session.json         written by the recorder: schema, command, tracer, clock, processes
//   PID-N.events         one for each program image that ran (N counts the execs of that PID):
//                        written by its agent through a shared mapping, so that SIGKILL loses nothing
//   PID-N.modules        JSON lines, appended by the recorder: modules that came and went
//   symbols/BUILDID      text lines: the names of a module's call sites
//
// An event file, little-endian throughout:
//
//   offset 0             nrec_file_header, one page
//   offset 4096 …        chunks, each page-aligned: nrec_chunk_header, the functions that were open
//                        when the chunk began (uint32_t each, outermost first), then events
//
// A chunk belongs to one thread and can be read without any other. Its header's state says how much
// of it is events; an event is stored, then the state, so that SIGKILL leaves no half of one. No event
// begins with a zero byte. The agent appends a chunk when it is full; what was in memory at the end
// (SIGKILL) is appended by the recorder. A chunk may then stand there twice: thread serial and sequence
// tell.
//
// Time is in units of 2^shift TSC ticks (shift is 1: below a nanosecond on any TSC of 2 GHz or
// more). Each event has the time since the event before it in its chunk; the first, since the
// chunk's base time.
//
//   first byte      bytes  event
//   …dddd dd01        1    EXIT     delta 6 bits                      the innermost open function
//   …dddd dd11        2    EXIT     delta 14 bits
//   …dddd dd10        2    ENTRY    delta 6 bits, function 8 bits
//   …dddd d100        3    ENTRY    delta 8 bits, function 13 bits    (little-endian 24-bit word)
//   …dddd 1000        4    ENTRY    delta 15 bits, function 13 bits   (little-endian 32-bit word)
//   0001 0000 (10)    8    TIME     56 bits: time that passes; the next event's delta is added
//   0010 0000 (20)    4    UNWOUND  24 bits: so many innermost functions ended without returning
//                                   (exception, longjmp, thread exit), at the time of the event before
//   0011 0000 (30)    8    EXIT_AT  delta 24 bits, 32 bits: how many open functions lie outside the
//                                   one that returned (another stack's are inside it)
//   0100 0000 (40)    8    LOST     56 bits: so many events were not recorded here
//   0101 0000 (50)    8    PARENT   48 bits of return address, 8 bits 0: of the ENTRY before it
//   0110 0000 (60)    8    ENTRY    delta 24 bits, function 32 bits
//
// The tracer `function` writes no EXIT, and tells of each ENTRY where it was called from: an ENTRY
// of 8 bytes is followed by its PARENT, and the two have a number from then on in their chunk,
// nrec_pair; an ENTRY of 2, 3 or 4 bytes has such a number in the place of its function's, the one
// that was told last.
//
// Function numbers are of the process: a module's call site i, in the order of its table, is number
// first_function + i of that module's generation. A reader maps a number to a name through
// PID-N.modules and symbols/, never through an address.

#ifndef CRECORDINGABI_H
#define CRECORDINGABI_H

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

enum { NREC_PAIRS = 8192 };
/// The number of a function and the return address that it was called with.
static inline uint32_t nrec_pair(uint32_t function, uint64_t parent) {
  return ((uint32_t)parent + 9 * function) & (NREC_PAIRS - 1);
}

/// The memory file that agent and recorder share has this size, sparse; what stands in it with a
/// chunk's magic, at a multiple of NREC_MEMORY_CHUNK, was not yet written when the process ended.
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
  NREC_FLAG_FULL = 8,         ///< no space was left: what came after is only counted
};

typedef struct nrec_chunk_header {
  uint32_t magic, size;       ///< NREC_CHUNK_MAGIC; bytes of the chunk, header included
  int32_t thread;             ///< kernel thread id
  uint32_t thread_serial;     ///< of the process: a thread id may come again
  uint32_t sequence;          ///< of the thread, from 0: a gap means chunks were overwritten
  uint32_t kind;              ///< NREC_CHUNK_*
  uint32_t lost_events;       ///< of the thread before this chunk; all ones: that many or more
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

/// A node of a thread's merged call tree: the thread's CALL_TREE chunks, in order of sequence, are
/// one array. Node 0 is the root; a parent precedes its children; a node with no calls and parent 0
/// behind the first is not in use. Calls on other stacks than the thread's own (a signal's, a
/// coroutine's) are children of the root.
typedef struct nrec_tree_node {
  uint32_t function, parent;  ///< parent: index of the node in the thread's tree
  uint64_t calls;
} nrec_tree_node;

/// One function of one thread; a PROFILE chunk holds one for every function number from 0, a
/// thread's last chunk counts. Times in units. `calls` counts entries, the rest calls that ended.
/// total_time leaves out calls inside another call of the same function; self_time is signed (a
/// function that is still open has lost its callees' time and not yet got its own). Squares of
/// inclusive times are a 128-bit sum.
typedef struct nrec_profile_entry {
  uint32_t ended_calls, open_calls;
  uint64_t calls, total_time;
  int64_t self_time;
  uint64_t minimum_time, maximum_time;
  uint64_t squares_low, squares_high;
  uint64_t sum_time;          ///< inclusive times of all calls that ended, nested ones too
} nrec_profile_entry;

// --- agent and recorder: SOCK_SEQPACKET, one message a packet -----------------------------------------

// Of the messages alone: agent and recorder are of one build, recordings outlive it.
#define NREC_MESSAGE_VERSION 2u

#define NREC_ENVIRONMENT "NOPSCOPE_AGENT"   // the socket's path; set for the traced program

enum {
  NREC_MESSAGE_HELLO = 1,     ///< agent: a process image begins; answered by CONFIG
  NREC_MESSAGE_CONFIG = 2,    ///< recorder: with two descriptors (SCM_RIGHTS): the event file's, and
                              ///< a memory file's of NREC_MEMORY_BYTES that the recorder keeps too
  NREC_MESSAGE_MODULE = 3,    ///< agent: a module came; answered by PLAN
  NREC_MESSAGE_PLAN = 4,      ///< recorder: with a descriptor of the plan, where it has sites
  NREC_MESSAGE_APPLIED = 5,   ///< agent: what became of a plan; no answer
  NREC_MESSAGE_GONE = 6,      ///< agent: a module went; no answer
};

/// START: a fresh image (the first, or after an exec); its modules follow. FORK: a copy of process
/// `copied`, made by fork in whatever way (its parent may have said nothing itself); its modules, generations and function numbers are its
/// parent's at that moment, and no MODULE is sent for them: the recorder copies the parent's
/// PID-N.modules and goes on numbering from there.
enum { NREC_BEGIN_START = 0, NREC_BEGIN_FORK = 1 };

typedef struct nrec_hello {
  uint32_t message, version;
  int32_t process, parent;
  uint32_t begin;             ///< NREC_BEGIN_*
  int32_t copied;             ///< FORK: whose modules it has; an ancestor that said HELLO
  uint64_t time;
} nrec_hello;

enum { NREC_MOST_THREAD_RULES = 16, NREC_THREAD_PATTERN = 63 };

/// Which threads are recorded, by their names: the last rule that matches decides. Where the first
/// removes, it removes from all.
typedef struct nrec_thread_rule {
  char pattern[NREC_THREAD_PATTERN];  ///< ftrace's glob, ended by NUL
  uint8_t is_removal;
} nrec_thread_rule;

typedef struct nrec_config {
  uint32_t message, version;
  uint32_t tracer, flags;     ///< NREC_TRACER_*, NREC_FLAG_OVERWRITE
  uint64_t overwrite_bytes;   ///< per thread
  uint32_t incarnation;
  uint32_t maximum_depth;     ///< 0: no limit
  uint32_t only_in_graph;     ///< 1: record only while a graph function (NREC_SITE_GRAPH) is open
  uint32_t thread_rules;      ///< how many of `threads`; 0: every thread is recorded
  uint64_t threshold;         ///< units; 0: none. Calls shorter than this are not recorded
  nrec_thread_rule threads[NREC_MOST_THREAD_RULES];
} nrec_config;

typedef struct nrec_module_message {
  uint32_t message, generation;  ///< generation: of the process, from 1
  uint64_t load_bias, text_start, text_end, time;
  uint32_t build_id_length, path_length;
  uint8_t build_id[64];
  char path[4000];            ///< absolute; path_length bytes are sent
} nrec_module_message;

typedef struct nrec_plan_message {
  uint32_t message, generation;
  uint32_t first_function, count;  ///< entries behind the descriptor; 0: none is sent
} nrec_plan_message;

/// What is to become of one call site.
typedef struct nrec_plan_entry {
  uint64_t offset;            ///< link-time address
  uint32_t function;          ///< its number
  uint8_t length;             ///< 5 or 6
  uint8_t action;             ///< NREC_ACTION_*
  uint8_t flags;              ///< NREC_SITE_*
  uint8_t reserved;
  uint8_t expected[6];        ///< the bytes that Capstone has confirmed in the file
  uint8_t padding[2];
} nrec_plan_entry;

enum {
  NREC_ACTION_LEAVE = 0,
  NREC_ACTION_NOP = 1,
  NREC_ACTION_ARM = 2,
};

enum {
  NREC_SITE_AFTER_PROLOGUE = 1,  ///< mcount: the return address is at 8(%rbp), not above the call's
  NREC_SITE_ENTRY_ONLY = 2,      ///< its return cannot be hooked: 8(%rbp) is a copy of it
  NREC_SITE_RUN_OF_NOPS = 4,     ///< several instructions
  NREC_SITE_GRAPH = 8,           ///< a graph function: what it calls is recorded while it is open
};

typedef struct nrec_applied {
  uint32_t message, generation;
  uint32_t armed, nopped;
  int32_t status;             ///< the patch core's NPC_* of the transaction
  int32_t error;              ///< errno
  uint64_t offset;            ///< of the site that failed, where there is one
} nrec_applied;

typedef struct nrec_gone {
  uint32_t message, generation;
  uint64_t time;
} nrec_gone;

_Static_assert(sizeof(nrec_profile_entry) == 72, "a profile entry is 72 bytes");
_Static_assert(sizeof(nrec_plan_entry) == 24, "a plan entry is 24 bytes");
_Static_assert(sizeof(nrec_chunk_header) == 64, "a chunk header is 64 bytes");
_Static_assert(sizeof(nrec_file_header) <= NREC_PAGE, "the file header fits its page");

#endif
