// SPDX-License-Identifier: Apache-2.0
//
// The agent: what runs inside the traced program. Its rules:
//
//   - C and assembly, libc its only dependency, general registers only (-mgeneral-regs-only): an
//     entry may hold arguments in every vector register.
//   - On the hot path and in its slow paths no libc function, no lock that a signal handler or a
//     forked child may find held, no allocation but mmap: system calls are made directly.
//   - State that a forked child must not share is kept in pages marked MADV_WIPEONFORK. The child
//     finds zeroes there, however it was forked, and joins as a process of its own.
//   - The program never depends on the recorder: without one it runs on, untraced.
//
// Below: what each file offers to the others. A file calls only the files below it: agent.c may
// call all of them, and no file calls one above it. A lower file that must call a function of a
// higher one calls it through the row of the current tracer (tracer.h).

#ifndef NAG_AGENT_H
#define NAG_AGENT_H

#include "CPatchCore.h"
#include "process_state.h"
#include "thread_state.h"
#include "Trampolines.h"
#include "tracer.h"

// agent.c: the beginning and the end of a program image. Offers nothing to the others.
// visit.c: what a recorder has a running process do. Offers nothing to the others.

// session.c: a recording of this process, from its beginning to its end
/// Chooses the tracer, patches what is loaded, and is told of what will be. `is_late`: the program's
/// code may have run, and several threads may be there. 0 or an errno.
int nag_session_begin(bool is_late);
/// Gives the process back: sites, hooked returns, the loader's hook. All threads can be stopped.
void nag_session_end(nag_ending *ending);

// exec_functions.c: libc's functions that start a program
void nag_exec_prepare(void);
void nag_exec_keep_agent(void);  ///< what the program starts from now on has the agent too

// exec_environment.c: the environment of a program that is started
typedef struct nag_environment {
  char *const *variables;
  size_t count;
  const char *preload;   ///< the value of its LD_PRELOAD, where that does not name the agent
  bool is_others;        ///< it names another recorder, or none
  size_t bytes;          ///< for the environment with the agent in it; 0: it stays as it is
} nag_environment;
/// `path`: of the agent, as it was preloaded. False: no environment is changed.
bool nag_environment_prepare(const char *path);
nag_environment nag_environment_look(char *const *variables);
/// Makes the environment with the agent in it, in `memory` of so many bytes.
char *const *nag_environment_mend(const nag_environment *given, void *memory);
/// Takes the agent out of this program's own environment, if the program was not to have it.
void nag_environment_hide(char **variables);
/// False: the agent cannot be preloaded into `program`.
bool nag_environment_may_help(const char *program);
/// The value of `variable`, if it begins with `name`, which ends in `=`; NULL: it is another.
const char *nag_environment_value(const char *variable, const char *name);

// modules.c
void nag_modules_changed(void);
/// False: there is no memory for it.
bool nag_modules_start(bool is_late);
/// Makes the sites of all modules what their files have, and looks at no module any more.
void nag_modules_restore(nag_ending *ending);
/// Where the stubs of all modules are, `room` at most. Returns how many there are.
uint32_t nag_modules_stubs(npc_code_range *ranges, uint32_t room);
/// Forgets all modules and unmaps their stubs, in which no thread is.
void nag_modules_forget(void);

// module_message.c
void nag_module_describe(nrec_module_message *message, const npc_module *module,
                         uint32_t generation);

// sites.c
/// Patches a module's call sites. Returns the module's stubs, which are to be unmapped with it;
/// NULL: there are none. `protocol`: NPC_PROTOCOL_NONE before the module's first instruction runs,
/// the jump guard where its code may run already.
uint8_t *nag_sites_module(uint32_t generation, const npc_module *module,
                          const nrec_plan_entry *plan, uint32_t count, int32_t protocol,
                          nrec_applied *applied, size_t *stub_bytes);
/// Makes the sites that nag_sites_module has changed what they were. `stubs`: what it returned.
/// Returns how many it has put back.
uint32_t nag_sites_restore(const npc_module *module, const nrec_plan_entry *plan, uint32_t count,
                           const uint8_t *stubs, nrec_applied *applied);
/// From now on the sites that call these stubs record nothing. The program's own code is not
/// patched.
void nag_sites_turn_off(uint8_t *stubs);

// gate.c: whether anything is recorded now
extern const char *nag_gate_handlers[NAG_HANDLERS]
    __attribute__((visibility("hidden")));  ///< what is behind the gate
void nag_gate_prepare(void);
/// A function with such NREC_SITE_* is entered. False: it is not recorded.
bool nag_gate_trigger(uint32_t marks);
/// gate.S: what stands before the handlers, by NREC_SITE_START and _STOP, then as the handlers.
extern const char *const nag_gate_entries[4][NAG_HANDLERS]
    __attribute__((visibility("hidden")));

// profile.c, hits.c, callgraph.c, function.c, function_graph.c, call_limits.c, marked_calls.c: the tracers. The
// other files reach them through their rows (tracer_table.h, tracers.c).
void nag_event_called(uint32_t function, uint64_t time, uint64_t parent);  ///< of tracer function
uint64_t nag_leave_graph(nag_slot *slot, uint64_t location);  ///< of tracer function_graph
uint64_t nag_callgraph_calls(const nag_buffer *buffer);  ///< in all

// values.c: arguments and results
/// Of the functions of a module that is about to be patched; called under the loader's load lock.
/// Numbers ascend from module to module. False: there is no memory for them.
bool nag_values_add(const nrec_fetch *fetches, uint32_t count);
void nag_values_forget(void);  ///< nobody reads them
bool nag_values_are_sound(const nrec_fetch *fetches, uint32_t count);
/// Whether a function has some at such a moment (NREC_AT_*), or is timed (NREC_FETCH_TIMED); with -1:
/// whether it has any.
bool nag_values_has(uint32_t function, int32_t moment);
/// Records them, with room for the function's own event, which is to be stored next. `location`: of its
/// return address; at a return it is not used. `more_open` as for nag_event_make_room.
void nag_values_record(uint32_t function, uint8_t moment, const nag_registers *registers,
                       const uint64_t *location, int32_t more_open);

// snapshots.c
/// A call of the function took so many units: the recorder is to keep all rings.
void nag_snapshot_ask(uint32_t function, uint64_t spent);

// events.c: events in their long forms
void nag_event_entry(uint32_t function, uint64_t time, bool is_hooked);
void nag_event_exit(uint64_t time);
void nag_event_unwound(uint32_t count);
/// Stores an event of `bytes` (8 at most) behind the last one. The chunk must have room for it.
void nag_event_append(uint64_t word, uint32_t bytes, uint64_t time);
/// The time since the last event. Where that is more than `most`, a TIME event is stored for the
/// rest. Where `time` is earlier than the last event, it is set to that event's time.
uint64_t nag_event_delta(uint64_t *time, uint64_t most);

// event_chunks.c
/// Makes sure that the chunk has room for an event. False: there is none, and the event is counted
/// as lost. `more_open`: how many functions the shadow stack is behind the events; -1 for a frame
/// that is hooked already and whose entry event is stored next.
bool nag_event_make_room(int32_t more_open);
/// The same for an event of so many bytes, and a TIME before it.
bool nag_event_make_room_for(uint32_t bytes, int32_t more_open);
/// The chunk's state, once there is room for the next event; 0: there is no room.
uint64_t nag_event_mark(void);

// chunks.c: what all chunks have in common, and the chunks of counters
/// Writes a chunk's header, its magic last.
void nag_chunk_begin(nag_buffer *buffer, nrec_chunk_header *header, uint32_t bytes, uint32_t open);
/// A chunk of counters, all zero, with room for `bytes` behind its header; NULL: no space. Returns
/// its contents. `replaces`: the thread's last one is not to be written; what it counted must be
/// copied.
uint8_t *nag_chunk_make(nag_buffer *buffer, size_t bytes, bool replaces);
/// The thread's counters are complete.
void nag_chunks_finish(nag_buffer *buffer);

// interposed.c
void nag_interposed_prepare(void);      ///< needed also where nothing is recorded

// thread_id.c
void nag_thread_id_prepare(void);
/// To be called by a forked child's first thread, before others. -1: it cannot be known here.
int32_t nag_thread_id_after_fork(void);
int32_t nag_own_thread_id(void);        ///< without a system call, where that is possible

// thread_filter.c
void nag_thread_renamed(void);          ///< some thread
void nag_thread_name(char *name);       ///< this thread's, 16 bytes

// thread.c
void nag_thread_prepare(void);
/// This thread's recording ends, for the reason that the flag names: another process is about to use
/// its thread-local storage at the same time (NREC_FLAG_SHARED), or it may not read the time stamp
/// counter any more (NREC_FLAG_NO_CLOCK). Its open functions return as they would alone.
void nag_thread_leave(uint32_t flag);
/// This thread's buffer, made when first needed; NULL: nothing is recorded. Where the call is lost,
/// it is counted.
nag_buffer *nag_thread_buffer(void);
void nag_thread_finish(nag_buffer *buffer);  ///< writes what it holds
/// Ends the recording of another thread, which is stopped outside of the agent. Returns how many of its
/// returns stay hooked.
uint32_t nag_thread_end(nag_tls *self);

// shadow.c
/// A slot for a frame whose return address is at `location`, on the stack where that is; NULL: none.
nag_slot *nag_shadow_push(uint64_t *location, uint32_t function);
/// `location`: where the return address was, just below the stack pointer after the return. Where
/// `how` says that it was the last, nag_shadow_resume is to be called once the return is recorded.
uint64_t nag_shadow_pop(nag_slot *slot, uint64_t location, nag_returned *how);
void nag_shadow_resume(void);
bool nag_shadow_matches(const nag_slot *slot, uint64_t location);  ///< it returns as it was entered
uint32_t nag_shadow_live_depth(uint64_t location);  ///< without the frames that are over
nag_unwinding nag_shadow_unwinding;      ///< an exception or a cancellation ends the innermost frame
void nag_shadow_jumping(uint64_t pointer);  ///< longjmp sets the stack pointer to this
uint32_t nag_shadow_depth(void);         ///< of the current stack
/// Whether a function is open outside of the slot, which is the innermost of the current stack. It is
/// known to be open on some stack of the thread.
bool nag_shadow_has_open(const nag_slot *slot, uint32_t function);
/// Writes the functions that are open on a stack, 4 bytes each, outermost first; of the innermost
/// ones, at most `most`. Returns how many.
uint32_t nag_shadow_list(const nag_stack *stack, uint8_t *numbers, uint32_t most);
/// The thread ends: what is open on its own stack is over.
void nag_shadow_end(void);
void nag_shadow_prepare(void);
void nag_shadow_reserve(void);           ///< for threads that may not map memory later
void nag_shadow_release(void);
/// Gives all frames of a stopped thread their return addresses back, and its slots. Returns how many
/// frames keep theirs.
uint32_t nag_shadow_give_back(nag_tls *self);

// stack_bounds.c
void nag_stack_prepare(void);           ///< on the thread that starts the program
void nag_find_stack(void);              ///< stack_low and stack_high of this thread

// orphaned_returns.c
/// Whether a word of the program's memory has this value; false too where no memory is.
bool nag_holds(uint64_t address, uint64_t word);
/// False: there is no memory for it, and the frame must keep its slot.
bool nag_orphan_add(uint64_t location, uint64_t trampoline, uint64_t return_address);
uint64_t nag_orphan_take(uint64_t location, uint64_t trampoline);
bool nag_orphan_is_there(uint64_t location, uint64_t trampoline);
bool nag_orphans_prepare(void);
/// Gives the frames of all entries their return addresses back, where they can return at all.
void nag_orphans_give_back(void);

// shadow_regions.c; more in shadow_stack.h
npc_code_range nag_trampolines_range(void);  ///< their addresses; empty: there are none

// trampoline_range.c
/// Loads it; NULL: returns cannot be hooked. `unwinding`: what unwinders call for each hooked frame
/// that they end.
uint8_t *nag_trampolines_find(nag_unwinding *unwinding);

// handler_frame.c
/// What the trampolines' personality routine returns. Calls `note` for each hooked frame that ends.
int nag_handler_frame(int version, int actions, uint64_t exception_class,
                      struct _Unwind_Exception *exception, struct _Unwind_Context *context,
                      const void *caller, void (*note)(void));

// seccomp.c
/// What the program is about to do by prctl(2) or seccomp(2): a system call's number and arguments.
void nag_before_syscall(uint64_t number, uint64_t operation, uint64_t second, uint64_t third);

// filter_program.c
struct sock_filter;
struct seccomp_data;
/// SECCOMP_RET_* of a filter for a system call, without its data.
uint32_t nag_filter_action(const struct sock_filter *code, uint32_t count,
                           const struct seccomp_data *call);

// process.c
/// Asks the recorder for a place: over a connection, or where it listens (-1). 0 or an errno.
int nag_join(int socket);
/// Nothing more is recorded, and nobody is asked again. A later nag_join begins anew.
void nag_part(void);
bool nag_is_joined(void);               ///< a forked child joins here; false: no recorder
/// Counts events that are not recorded.
void nag_lose(uint64_t events);
/// Marks the recording with an NREC_FLAG_*.
void nag_mark(uint32_t flag);
/// Marks the recording as closed properly.
void nag_mark_ended(void);

// scratch_stack.c
/// Calls a function on a stack of its own, for what needs more than the few hundred bytes that a
/// small stack may have left. Signals must be blocked. False: there is no memory for it.
enum { NAG_SCRATCH_BYTES = 1 << 16 };
bool nag_on_scratch_stack(void (*function)(void *), void *argument);

// notes.c: what is said without a connection
typedef struct nag_note {
  uint32_t kind, flags;  ///< NREC_NOTE_*
  int32_t process, error, joined;
  uint64_t time;
  const char *program;   ///< NULL: none is named
} nag_note;
void nag_notes_map(int file);
void nag_note_leave(const nag_note *what);  ///< async-signal-safe

// vectors.S
/// Calls a function on another stack, which ends at `top`.
void nag_on_stack(void (*function)(void *), void *argument, uint8_t *top);
/// Calls a libc function from a slow path and keeps all vector registers. `area`: bytes that XSAVE
/// needs.
void nag_with_vectors(void (*function)(void *), void *argument, uint64_t area);
/// The low half of xmm0 to xmm7, as the traced function has it.
uint64_t nag_vector(uint32_t number);

// arena.c: the memory shared with the recorder
int nag_arena_map(int file);                           ///< 0, or an errno
nrec_arena_process *nag_arena_place(uint32_t number);  ///< NULL: there is no such place
/// Takes a free place for a forked child; NULL: there is none, nor became free in time. Its header is
/// to be filled. `spent`: units, of the wait.
nrec_arena_process *nag_arena_claim(uint32_t *number, uint64_t *spent);
void nag_arena_be_polled(void);                      ///< the recorder will not be woken
/// The recorder may look at it now.
void nag_arena_claimed(nrec_file_header *header, uint64_t spent);
uint32_t nag_arena_next_image(void);
/// Waits until the word has another value, for some milliseconds at most.
void nag_arena_wait(uint32_t *word, uint32_t value);
bool nag_arena_is_full(void);                        ///< no chunk will be added
void nag_arena_ring(void);                           ///< the recorder is to look now
bool nag_arena_is_held(void);                        ///< rings are being copied
bool nag_arena_is_over(void);                        ///< the recorder answers nothing any more
/// Whether so many seconds are over since `began`, a nag_time.
bool nag_arena_is_late(uint64_t began, uint32_t seconds);
uint32_t nag_places_of(size_t bytes);                ///< how many chunks have so many bytes
/// Takes `count` neighbouring chunks. NULL: none are free, nor became free in time.
uint8_t *nag_arena_take(uint32_t count);
void nag_arena_hand_over(const void *chunk);         ///< to the recorder, which writes it
void nag_arena_keep(const void *chunk);              ///< the recorder is not to write it
void nag_arena_give_back(const void *chunk, uint32_t count);
bool nag_arena_holds(const void *chunk, uint64_t bytes);  ///< from its first byte on
uint8_t *nag_arena_numbered(uint32_t link);          ///< the chunk of that number plus 1, or NULL
uint8_t *nag_arena_linked(const void *chunk);        ///< the chunk that it is linked to, or NULL
void nag_arena_link(const void *chunk, const void *to);

// mail.c: messages to the recorder, and its answers
/// Adds a message to those that are sent together. False: there is no memory for it, and it is lost.
bool nag_mail_add(const void *message, size_t length);
void nag_mail_send(void);
/// The answer for a module, in the arena; NULL: there is none in time. To be given back.
const nrec_answer *nag_mail_answer(uint32_t generation);
/// Whether as many entries and fetches as `plan` says lie in the arena.
bool nag_mail_holds(const nrec_answer *answer, const nrec_plan_message *plan);
void nag_mail_done(const nrec_answer *answer, const nrec_plan_message *plan);

// link.c
/// Asks the recorder that listens at `path`. 0, or an errno: EPROTO where the answer is none. The
/// files that came with the answer are the caller's; those that did not come are -1.
int nag_ask(const char *path, const nrec_hello *hello, nrec_config *config, int *files, int count);
/// The same, over a connection to the recorder, which is closed then.
int nag_ask_over(int socket, const nrec_hello *hello, nrec_config *config, int *files, int count);
/// Sends a message that needs no answer.
void nag_tell(const char *path, const nrec_hello *hello);
uint64_t nag_file_bytes(int file);      ///< 0 where it is no regular file
/// 0: the file has `bytes`, and all of `seals`. EINVAL: it has not. Else an errno: the kernel does
/// not say.
int32_t nag_check_sealed(int file, uint64_t bytes, int seals);

#ifndef NAG_TEST_TIME  // added to the clock: for a test, the machine has been up for long
#define NAG_TEST_TIME 0
#endif

/// In units; 0 where the thread may not read the time stamp counter.
static inline uint64_t nag_time(void) {
  if (nag_self.has_no_clock) return 0;
  uint32_t low, high;
  __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
  return (((uint64_t)high << 32 | low) >> NREC_TIME_SHIFT) + NAG_TEST_TIME;
}

/// Units between two times. A chunk's state keeps 48 bits of a time: it passes 2^48 after days.
static inline uint64_t nag_since(uint64_t later, uint64_t earlier) {
  return later - earlier & 0xffffffffffff;
}

#endif
