// SPDX-License-Identifier: Apache-2.0
//
// What the recorder needs of the system and cannot express in Swift: control messages (macros are
// not imported), socket addresses, raw system calls, the time stamp counter, and posix_spawn with
// the right signals.
//
// Every function that can fail returns -1 or an errno as its comment says, and touches no global
// state. None may be called from a signal handler.

#ifndef CRECORDER_H
#define CRECORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "nrec_notes.h"
#include "nrec_switches.h"

// --- waiting ------------------------------------------------------------------------------------

/// A set of descriptors to wait for (epoll), close-on-exec; -1 and errno.
int nrc_wait_set(void);

/// Adds a descriptor that is to be readable, has ended or has failed, under a number of the caller's.
/// 0, or -1 and errno.
int nrc_wait_add(int set, int descriptor, uint64_t number);

/// Takes it out again, before it is closed.
void nrc_wait_remove(int set, int descriptor);

/// Waits until some are ready, at most so long (-1: no limit). Fills in their numbers and returns how
/// many, at most `capacity`; those that were left out come first the next time. -1 and errno.
int nrc_wait(int set, uint64_t *numbers, int capacity, int milliseconds);

// --- sockets ------------------------------------------------------------------------------------

/// A SOCK_SEQPACKET socket that listens at `path`, close-on-exec, never blocking; -1 and errno.
int nrc_listen(const char *path);

/// The next client, close-on-exec, never blocking; -1 and errno.
int nrc_accept(int listener);

/// The longest path that fits a socket's address, in bytes without its NUL.
size_t nrc_longest_socket_path(void);

/// The process and the user that connected; -1 and errno.
int nrc_peer(int socket, int32_t *process, uint32_t *user);

/// Receives one packet into `bytes`: its length, 0 at the end, -1 and errno (EMSGSIZE: longer than
/// `size`). Descriptors that come with it are not accepted: the kernel closes them.
ssize_t nrc_receive(int socket, void *bytes, size_t size);

enum { NRC_MOST_DESCRIPTORS = 3 };

/// Sends one packet, with `count` descriptors, at most NRC_MOST_DESCRIPTORS. 0, or -1 and errno.
/// Never blocks.
int nrc_send(int socket, const void *bytes, size_t size, const int *descriptors, int count);

/// RLIMIT_FSIZE and RLIMIT_AS of this process, in bytes; UINT64_MAX: none.
uint64_t nrc_file_size_limit(void);
uint64_t nrc_address_space_limit(void);

/// A sealed memory file that holds `bytes`; -1 and errno.
int nrc_memory_file(const void *bytes, size_t size);

// --- the arena ----------------------------------------------------------------------------------

/// The memory that agents put events into (nrec_arena.h), and a thread that writes these to the
/// event files.
typedef struct nrc_arena nrc_arena;

/// How long files must be allowed to be, so that it has room for one thread's events.
uint64_t nrc_arena_least_bytes(void);

/// Makes it and starts its thread; NULL and errno.
nrc_arena *nrc_arena_make(void);

/// Lets the thread end. Agents that still run record nothing more.
void nrc_arena_close(nrc_arena *arena);
/// Closes it, waits for the thread, and frees everything.
void nrc_arena_free(nrc_arena *arena);

/// What agents map; -1: there is no room for an arena, and no process can join.
int nrc_arena_file(const nrc_arena *arena);

/// What the recorder knows of a process.
typedef struct nrc_arena_image {
  int events;             ///< its event file, which the caller keeps open until it leaves
  int32_t process, parent;
  uint32_t incarnation;
  uint64_t start_realtime_nanoseconds;
} nrc_arena_image;

/// A place for a process, and its image's number. -1 and errno: there is no space for the file's first
/// page; EAGAIN: no place is free.
int nrc_arena_join(nrc_arena *arena, const nrc_arena_image *about, uint32_t *image);

/// The same for a forked child, which has claimed a place. -1 and errno: there is no space; its
/// events are counted as lost.
int nrc_arena_adopt(nrc_arena *arena, int place, const nrc_arena_image *about);

/// What an agent says: a claim, or messages (nrec_arena.h).
typedef struct nrc_arena_event {
  int place;
  bool is_claim;
  uint32_t image, copied; ///< of a claim
  int32_t thread;
  uint64_t time;
  const uint8_t *bytes;   ///< of messages: nrec_mail, one behind the other
  size_t size;
} nrc_arena_event;

/// Readable while there may be something.
int nrc_arena_events(const nrc_arena *arena);

/// The next one; NULL: there is none. Each process's come in the order in which it sent them.
nrc_arena_event *nrc_arena_next(nrc_arena *arena);
void nrc_arena_done(nrc_arena_event *event);

/// Sends a plan (nrec_plan_message), and its entries and fetches: `size` bytes. False: there is no memory for it.
bool nrc_arena_answer(nrc_arena *arena, int place, const void *plan, const void *entries, size_t size);

/// To be called once the process has ended: what it had recorded and not handed over is written, and
/// its place is free. -1 and errno where its event file could not be written: the chunks that found
/// no space are counted in its header as lost.
int nrc_arena_leave(nrc_arena *arena, int place, double ticks_per_second);

/// Takes over what was handed over until now, without waiting for the thread to do it.
void nrc_arena_look(nrc_arena *arena);

/// Sets the bit of each function that an event file has calls of; numbers from `count` on are left out.
/// What is behind a damage is not looked at. False: it was not done by `deadline` (monotonic).
bool nrc_mark_called(int file, uint64_t deadline, uint64_t *bits, uint32_t count);

/// The gate's NREC_GATE_*. nrc_arena_events is readable when it has changed.
uint32_t nrc_arena_gate(const nrc_arena *arena);
/// False: it is not `from`.
bool nrc_arena_set_gate(nrc_arena *arena, uint32_t from, uint32_t to);

// --- snapshots of rings ---

/// What an agent's request says (nrec_arena.h).
typedef struct nrc_request {
  uint32_t place, function;
  int32_t thread;
  uint64_t spent;         ///< in units
  char thread_name[16];
} nrc_request;

/// The rules for threads that a thread's name has matched until now: bit i is rule i.
uint32_t nrc_arena_thread_rules_met(const nrc_arena *arena);

/// To be called before there is an agent: processes are recorded by the flight recorder.
void nrc_arena_expect_rings(nrc_arena *arena);
/// The next request of an agent; false: there is none. nrc_arena_events is readable while rings are
/// held.
bool nrc_arena_next_request(nrc_arena *arena, nrc_request *out);
/// How many requests were not made, because too many were waiting.
uint32_t nrc_arena_missed_requests(const nrc_arena *arena);
/// No agent is to make another.
void nrc_arena_take_none(nrc_arena *arena);

/// Whether no chunk of a ring may be freed, unless its process has ended.
bool nrc_arena_is_held(const nrc_arena *arena);
/// No ring loses a chunk from now on.
void nrc_arena_hold(nrc_arena *arena);
/// Until now. False: they are still held, for another request. `gives_up`: not for one that was begun.
bool nrc_arena_release(nrc_arena *arena, bool gives_up);

typedef struct nrc_copied {
  uint64_t bytes;         ///< of the file
  uint64_t events;        ///< entries and exits
  bool is_begun;          ///< its agent has begun to record
} nrc_copied;

/// Writes the rings of a process, which are held, to a file of their own. 0, or an errno.
int nrc_arena_copy_rings(nrc_arena *arena, int place, int file, double ticks_per_second,
                         nrc_copied *out);
/// Of a process, until now.
uint64_t nrc_arena_lost_events(const nrc_arena *arena, int place);

// --- notes --------------------------------------------------------------------------------------

/// The notes of processes without a connection (nrec_notes.h).
typedef struct nrc_notes nrc_notes;

/// NULL and errno where there is no memory for them. Where a limit on file sizes leaves no room for
/// any, there are none, and no descriptor.
nrc_notes *nrc_notes_make(void);
void nrc_notes_free(nrc_notes *notes);

/// The descriptor of their memory, for agents.
int nrc_notes_file(const nrc_notes *notes);

/// The next note; false where there is none. One whose writer is not done is waited for: at the next
/// call, for a second at most. `is_last`: no longer at all.
bool nrc_notes_next(nrc_notes *notes, nrec_note *out, bool is_last);

/// How many notes found no place.
uint64_t nrc_notes_lost(const nrc_notes *notes);

// --- processes ----------------------------------------------------------------------------------

/// A pipe, close-on-exec: the reading end, the writing end. 0, or -1 and errno.
int nrc_pipe(int *ends);

/// What a child is started with.
typedef struct nrc_spawn_options {
  const char *path;
  char *const *arguments, *const *environment;
  const uint32_t *default_signals;  ///< set to their defaults in the child
  size_t default_signal_count;
  int output;                       ///< becomes its standard output; -1: it inherits ours
  int error;                        ///< becomes its standard error; -1: it inherits ours
} nrc_spawn_options;

/// Makes a write beyond RLIMIT_FSIZE fail with EFBIG in this process instead of killing it. A child
/// that `nrc_spawn` starts has the action from before.
void nrc_ignore_file_size_signal(void);

/// Raises the soft limit of this process's descriptors to the hard one. A child that `nrc_spawn`
/// starts has the limit from before.
void nrc_raise_descriptor_limit(void);

/// From `begins` to its opposite, this process has the limit that its children are to have.
void nrc_descriptor_limit_for_children(bool begins);

/// Starts a child with the signal mask that `nrc_signals_hold` found. 0 or an errno: ENOENT,
/// EACCES, ENOEXEC and others of execve(2).
int nrc_spawn(const nrc_spawn_options *options, pid_t *child);

/// Whether the file has capabilities (setcap).
bool nrc_has_capabilities(int file);

/// A descriptor that becomes readable when the process ends; -1 and errno.
int nrc_process_descriptor(pid_t process);

/// Blocks `signals` and returns a descriptor to read them from; -1 and errno. Remembers the old
/// mask.
int nrc_signals_hold(const uint32_t *signals, size_t count);

/// The next held signal and its sender (`from_kernel`: the terminal, not a process); 0: there is
/// none.
int nrc_signals_next(int descriptor, bool *from_kernel);

/// Ends this process by `signal`, which ended its child, without a core of its own.
void nrc_die_of(int signal);

// --- the machine --------------------------------------------------------------------------------

/// The time stamp counter.
uint64_t nrc_ticks(void);

/// CLOCK_MONOTONIC and CLOCK_REALTIME, nanoseconds.
uint64_t nrc_monotonic_nanoseconds(void);
uint64_t nrc_realtime_nanoseconds(void);

/// Whether the time stamp counter has a constant rate, in every sleep state too (CPUID 80000007).
bool nrc_ticks_are_steady(void);

/// What membarrier(2) offers: MEMBARRIER_CMD_QUERY's bits; -1 and errno.
long nrc_membarrier_commands(void);

/// Whether `bytes` contain `wanted` (memmem, which Swift does not import).
bool nrc_contains(const void *bytes, size_t size, const void *wanted, size_t wanted_size);

/// Both clocks of `switches` at one moment.
void nrc_switches_now(uint64_t *ticks, uint64_t *nanoseconds);

/// Whether a CET shadow stack is on in this process.
bool nrc_has_shadow_stack(void);

/// Makes a page of program text writable in the way of each writer, in this function's own memory.
/// 0 or the errno of the refusal. `file`: an ELF file from which a page is mapped.
int nrc_probe_mprotect(const char *file);
int nrc_probe_process_memory(const char *file);

// --- context switches: switches.c -----------------------------------------------------------------

/// The rings of context switches, one for each CPU.
typedef struct nrc_switches nrc_switches;

/// Opens them for the calling thread and all that it will start; NULL and an errno: the kernel does not
/// let this user.
nrc_switches *nrc_switches_open(int *error);
void nrc_switches_close(nrc_switches *all);
int nrc_switches_count(const nrc_switches *all);
/// Becomes readable when a ring is half full; -1: that CPU has none.
int nrc_switches_descriptor(const nrc_switches *all, int ring);
/// Takes at most `most` switches out of a ring; those of this process are left out. `lost`: raised by
/// those that found no room.
size_t nrc_switches_read(nrc_switches *all, int ring, nrec_switch *into, size_t most,
                         uint64_t *lost);

#endif
