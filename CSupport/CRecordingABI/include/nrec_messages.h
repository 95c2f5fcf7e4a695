// SPDX-License-Identifier: Apache-2.0
//
// The messages of agent and recorder:
//
//   agent                                      recorder
//     HELLO: a process image begins       ->
//                                         <-     CONFIG: tracer, limits; arena, notes
//     INHERITED: a copy's modules         ->
//     MODULE: a module was loaded         ->
//                                         <-     PLAN: how to patch its call sites
//     APPLIED: the result of the plan     ->
//     GONE: a module was unloaded         ->
//
// HELLO and CONFIG go over a socket (SOCK_SEQPACKET, one message per packet), which the agent closes
// then. All others go through the arena (nrec_arena.h). A forked child sends no HELLO: it claims a
// place in the arena, and its first message is INHERITED.
//
// The agent waits for an answer, for a bounded time, and goes on without one. What a process that
// cannot connect has to say goes through the notes (nrec_notes.h).

#ifndef NREC_MESSAGES_H
#define NREC_MESSAGES_H

#include <stdint.h>

/// The version of the messages alone: agent and recorder are of one build, but recordings are kept.
#define NREC_MESSAGE_VERSION 8u

#define NREC_ENVIRONMENT "NOPSCOPE_AGENT"   // the socket's path; set for the traced program

/// The agent reserves address space for hooked returns only where the program's limit is at least
/// this.
static const uint64_t NREC_ROOMY_BYTES = (uint64_t)1 << 35;

enum {
  NREC_MESSAGE_HELLO = 1,     ///< agent: a process image begins; answered by CONFIG
  NREC_MESSAGE_CONFIG = 2,    ///< recorder: with descriptors (SCM_RIGHTS) of the arena and the
                              ///< notes, whose mappings the image's copies inherit
  NREC_MESSAGE_MODULE = 3,    ///< agent: a module came; answered by PLAN
  NREC_MESSAGE_PLAN = 4,      ///< recorder: nrec_answer
  NREC_MESSAGE_APPLIED = 5,   ///< agent: what became of a plan; no answer
  NREC_MESSAGE_GONE = 6,      ///< agent: a module went; no answer
  NREC_MESSAGE_INHERITED = 7, ///< agent: the modules of a copy, its first messages; no answer
};

/// A fresh image: the program's first one, or one after an exec. Its modules follow.
///
/// A copy, made by any kind of fork, has the modules, generations and function numbers of its parent
/// at that moment. No MODULE is sent for them: the copy names their generations (INHERITED), for its
/// parent may have loaded and unloaded others since. The recorder copies their lines and continues
/// the numbering.
typedef struct nrec_hello {
  uint32_t message, version;
  int32_t process, parent;
  uint64_t time;
  int32_t error;     ///< an errno: it cannot use the answer that it was given; no other answer comes
  uint32_t reserved;
} nrec_hello;

enum { NREC_MOST_THREAD_RULES = 16, NREC_THREAD_PATTERN = 63 };

/// Which threads are recorded, by their names: the last rule that matches decides. A thread that no
/// rule matches is recorded if the first rule is a removal, or if there is no rule.
typedef struct nrec_thread_rule {
  char pattern[NREC_THREAD_PATTERN];  ///< ftrace's glob, ended by NUL
  uint8_t is_removal;
} nrec_thread_rule;

typedef struct nrec_config {
  uint32_t message, version;
  uint32_t tracer, flags;     ///< NREC_TRACER_*, NREC_FLAG_OVERWRITE
  uint64_t overwrite_bytes;   ///< per thread
  uint32_t incarnation;
  uint32_t place, image;      ///< of the process, in the arena; its image's number
  uint32_t maximum_depth;     ///< 0: no limit
  uint32_t only_in_graph;     ///< 1: record only while a graph function (NREC_SITE_GRAPH) is open
  uint32_t is_gated;          ///< 1: what is recorded depends on the arena's gate too
  uint32_t thread_rules;      ///< how many of `threads`; 0: every thread is recorded
  uint64_t units_per_second;  ///< as far as it is known at the start
  uint64_t threshold;         ///< in units; 0: none. Shorter calls are not recorded
  uint64_t snapshot_limit;    ///< in units; 0: none. A call of a function whose site has
                              ///< NREC_SITE_GRAPH that takes longer asks for a snapshot
  uint64_t reads_values;      ///< 1: sites of NREC_SITE_GRAPH may have nrec_fetches
  nrec_thread_rule threads[NREC_MOST_THREAD_RULES];
} nrec_config;

typedef struct nrec_module_message {
  uint32_t message, generation;  ///< generation: of the module, from 1 in each process
  uint64_t load_bias, text_start, text_end, time;
  uint32_t build_id_length, path_length;
  uint8_t build_id[64];
  char path[4000];            ///< absolute; path_length bytes are sent
} nrec_module_message;

typedef struct nrec_plan_message {
  uint32_t message, generation;
  uint32_t first_function, count;  ///< entries of the plan
  uint32_t fetches;           ///< behind the entries: nrec_fetch
  uint32_t reserved;
} nrec_plan_message;

/// How one call site is to be patched.
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
  NREC_SITE_ENTRY_ONLY = 2,      ///< its return cannot be hooked: 8(%rbp) is only a copy of it
  NREC_SITE_RUN_OF_NOPS = 4,     ///< several instructions
  NREC_SITE_GRAPH = 8,           ///< a graph function: what it calls is recorded while it is open.
                                 ///< With a snapshot_limit or reads_values: a function whose calls
                                 ///< are timed, or recorded with values
  NREC_SITE_START = 16,          ///< its entry opens the gate (nrec_arena.h)
  NREC_SITE_STOP = 32,           ///< its entry shuts it
};

/// One value that is recorded with each call of a function: an argument, or what it returns. Where it
/// is follows from the System V ABI. Those of one function are neighbours, in the order in which they
/// are recorded; functions ascend. A function of NREC_SITE_GRAPH without any is timed; one with some is
/// timed if one of them is NREC_FETCH_TIMED.
typedef struct nrec_fetch {
  uint32_t function;          ///< its number
  uint8_t moment;             ///< NREC_AT_*
  uint8_t source;             ///< NREC_SOURCE_*
  uint8_t form;               ///< NREC_FORM_*
  uint8_t bytes;              ///< of NREC_FORM_BYTES: 1 to 8
  uint32_t offset;            ///< of NREC_SOURCE_STACK: bytes above the first argument there
  uint32_t reserved;
} nrec_fetch;

enum { NREC_AT_ENTRY = 0, NREC_AT_RETURN = 1, NREC_FETCH_TIMED = 2 };

enum {
  NREC_SOURCE_RDI = 0, NREC_SOURCE_RSI = 1, NREC_SOURCE_RDX = 2, NREC_SOURCE_RCX = 3,
  NREC_SOURCE_R8 = 4, NREC_SOURCE_R9 = 5, NREC_SOURCE_RAX = 6, NREC_SOURCE_STACK = 7,
  NREC_SOURCE_XMM0 = 8,       ///< to 15: xmm7
  NREC_SOURCES = 16,
};

enum {
  NREC_FORM_BYTES = 0,        ///< the register's or the stack's own
  NREC_FORM_TEXT = 1,         ///< it points to a text that ends in NUL
  NREC_FORM_LIBSTDCXX = 2,    ///< it points to a std::string of libstdc++, with the ABI of GCC 5
  NREC_FORM_LIBCXX = 3,       ///< it points to a std::string of libc++
  NREC_FORMS = 4,
};

enum { NREC_MOST_STACK_BYTES = 1 << 12 };  ///< of arguments: `offset` is less

/// The result of a plan. If a site failed, `length` is not 0, and offset, expected and actual
/// describe the site.
typedef struct nrec_applied {
  uint32_t message, generation;
  uint32_t armed, nopped;
  int32_t status;             ///< the patch core's NPC_* of the transaction
  int32_t phase;              ///< its NPC_PHASE_*
  int32_t error;              ///< errno
  uint8_t length;             ///< bytes of the site that failed
  uint8_t has_actual;         ///< `actual` was read
  uint8_t left_changed;       ///< something was written and could not be put back
  uint8_t is_off;             ///< an anomaly: this process records nothing more
  uint64_t offset;            ///< of the site that failed
  uint8_t expected[6], actual[6];
} nrec_applied;

enum { NREC_INHERITED_AT_ONCE = 1000 };

/// Some of the generations that a copy has. `count` of them are sent; fewer than
/// NREC_INHERITED_AT_ONCE: these are the last.
typedef struct nrec_inherited {
  uint32_t message, count;
  uint32_t generations[NREC_INHERITED_AT_ONCE];
} nrec_inherited;

typedef struct nrec_gone {
  uint32_t message, generation;
  uint64_t time;
} nrec_gone;

_Static_assert(sizeof(nrec_plan_entry) == 24, "a plan entry is 24 bytes");
_Static_assert(sizeof(nrec_fetch) == 16, "a fetch is 16 bytes");
_Static_assert(sizeof(nrec_inherited) <= sizeof(nrec_module_message), "the longest is a module's");

#endif
