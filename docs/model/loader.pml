/* SPDX-License-Identifier: Apache-2.0
 *
 * The 2.6.28 engine and the loader: who may write when memory changes hands, what the engine
 * believes of a module that went and came again, and the locks.
 *
 *   load lock    glibc's, held through dlopen and dlclose; the hook runs with it held
 *   patch lock   transaction.c: recursive in the code, no process here takes it twice
 *   write lock   glibc's, held over dl_iterate_phdr's callbacks and over munmap
 *   fork lock    npc_block_forks: fork waits for visits of modules
 *   heap lock    an allocator's, which the loader's free and the allocator's fork handlers take
 *
 * The text is one site at one address. A generation is a mapping of that address: 0 is none, odd
 * is the module, even is whatever somebody else maps there (a file with the same bytes, a device).
 *
 * README.md has the -D.
 */
#include "claims.pml"

#ifndef LOADS
#define LOADS 2
#endif
#ifndef FLIPS
#define FLIPS 3          /* tracer on, off, on */
#endif

/* What the site holds. FOREIGN is a debugger's int3, say. */
#define CALL 0
#define NOP 1
#define TRACER 2
#define FOREIGN 3

#define LOADER 1
#define PATCHER 2
#define REMOVER 3
#define FORKER 4

bit write_after_the_end, constructor_found_a_call, stale_journal, patched_after_the_kill,
    killed_for_nothing, forked_half_changed;

byte load_lock, patch_lock, write_lock;
byte fork_lock;          /* npc_block_forks */
byte heap_lock;          /* an allocator's, which its fork handlers take */
bit is_visiting;         /* somebody has the loader's lock by dl_iterate_phdr */
bit is_half_changed;     /* text, in a transaction */
byte mapped;             /* the generation at the address; 0: nothing */
byte text;
bit is_listed;           /* by dl_iterate_phdr */
bit hook = 1;            /* the jump in _dl_debug_state */
bit deleting;            /* loader.c's flag */

/* npc_load_plan: pokes, loaded, generation; and which mapping that generation really was. */
bit plan_pokes = 1, plan_loaded;
byte plan_generation, plan_mapped;

/* The loader's count of unloads, and what it was when the jump was taken out (note_unloads). */
byte unloads, noted_unloads;
#ifdef UNTOLD_UNLOADS
#define IS_TOLD true
#else
#define IS_TOLD (hook || noted_unloads == unloads)
#endif

bit bug;                 /* StaticEngine.bug: the tracer is off for good */
bit is_stopped;          /* by stop-machine: the loader stands where it is */
byte last_generation;

#define GOES_ON !is_stopped

#ifdef NO_LOCK
#define NOT_LOCKED true
#else
#define NOT_LOCKED false
#endif

/* One store of a transaction, by whoever believes that the address is generation `g`. */
inline write(g, code) {
  atomic {
    CLAIM(write_after_the_end, mapped == g);
    CLAIM(patched_after_the_kill, !bug);
    text = code
  }
}

/* --- dlopen, dlclose, and the hook (loader.c) ------------------------------------------------ */

/* npc_modules_visit: dl_iterate_phdr, with forks blocked. */
#if defined(NO_FORK_LOCK) || defined(FORK_TAKES_PATCH_LOCK)
#define BLOCK_FORKS(who) skip
#define ALLOW_FORKS skip
#else
#define BLOCK_FORKS(who) ACQUIRE(fork_lock, who)
#define ALLOW_FORKS RELEASE(fork_lock)
#endif
#define VISIT(who) BLOCK_FORKS(who); \
  atomic { write_lock == 0 -> write_lock = who; is_visiting = 1 }
#define LEAVE atomic { write_lock = 0; is_visiting = 0 }; ALLOW_FORKS

/* end_adding: look_for_plans, take, apply. The transaction of protocol none looks for the module
 * in a visit of its own. */
inline end_adding() {
  ACQUIRE(patch_lock, LOADER);
  VISIT(LOADER);
  if
  :: !plan_loaded && is_listed ->
       atomic { plan_loaded = 1; plan_generation++; plan_mapped = mapped };
       if
       :: plan_pokes && text == CALL -> write(mapped, NOP)
       :: else
       fi
  :: else
  fi;
  LEAVE;
  RELEASE(patch_lock)
}

inline dl_open() {
  ACQUIRE(load_lock, LOADER);
  ACQUIRE(write_lock, LOADER);
  atomic {
    GOES_ON && mapped == 0 ->
    last_generation = last_generation + 1 + last_generation % 2;    /* the next odd one */
    mapped = last_generation;
    text = CALL;
    is_listed = 1
  };
  RELEASE(write_lock);
#ifndef NO_CONVERSION
  if :: hook -> end_adding() :: else fi;          /* RT_CONSISTENT */
#endif
  /* The constructors run. After the kill, and without the hook, sites stay as their file has
   * them. */
  atomic { GOES_ON ->
    CLAIM(constructor_found_a_call, text != CALL || !hook || bug || !plan_pokes) };
  RELEASE(load_lock)
}

/* drop_vanished */
inline drop_vanished() {
  if :: plan_loaded && !is_listed -> plan_loaded = 0 :: else fi
}

/* npc_loader_announced at RT_DELETE: the patch lock is taken, and held. */
inline announce_delete() {
  GOES_ON;
  ACQUIRE(patch_lock, LOADER);
#ifdef HOOK_LEAVES_WITH_LOCK
  deleting = 1
#else
  if
  :: hook -> deleting = 1
  :: else -> RELEASE(patch_lock)                  /* the hook went while we waited for the lock */
  fi
#endif
}

inline dl_close() {
  ACQUIRE(load_lock, LOADER);
#ifndef NO_HOLD
  if :: hook -> announce_delete() :: else fi;
#endif
  ACQUIRE(write_lock, LOADER);
  atomic { GOES_ON -> mapped = 0; is_listed = 0; unloads++ };
  RELEASE(write_lock);
  ACQUIRE(heap_lock, LOADER); RELEASE(heap_lock);    /* the loader frees what it knew of the module */
  GOES_ON;
#ifdef ZAP_LATE
  if :: deleting -> deleting = 0; RELEASE(patch_lock) :: else fi;
#else
#ifdef NO_HOLD
  ACQUIRE(patch_lock, LOADER); drop_vanished(); RELEASE(patch_lock);
#else
  if
  :: hook && deleting -> deleting = 0; drop_vanished(); RELEASE(patch_lock)
  :: else
  fi;
#endif
#endif
  RELEASE(load_lock)
}

proctype loader() {
  byte loads = LOADS;
  do
  :: loads > 0 -> loads--; dl_open(); dl_close()
  :: else -> break
  od;
#ifdef ZAP_LATE
  ACQUIRE(patch_lock, LOADER); drop_vanished(); RELEASE(patch_lock)
#endif
}

/* Another thread maps what it likes at the free address, and takes it away again: raw mmap. */
proctype mapper() {
  byte maps = 1;
  do
  :: atomic { GOES_ON && mapped == 0 && maps > 0 ->
       maps--;
       last_generation = last_generation + 2 - last_generation % 2;    /* the next even one */
       mapped = last_generation;
       if :: text = CALL :: text = NOP :: text = TRACER fi }
  :: atomic { GOES_ON && mapped > 0 && mapped % 2 == 0 -> mapped = 0 }
  :: maps == 0 && (mapped == 0 || mapped % 2 == 1) -> break
  od
}

/* --- the engine ------------------------------------------------------------------------------ */

/* StaticEngine.die, LoadPlan.stopPatching. */
inline die() {
#ifndef KILL_LEAVES_PLANS
  ACQUIRE(patch_lock, PATCHER);
  plan_pokes = 0;
  RELEASE(patch_lock);
#endif
  bug = 1
}

/* StaticEngine.synchronize: the journal of a new generation says nop at every site. */
inline synchronize() {
  ACQUIRE(patch_lock, PATCHER);
  if
  :: plan_loaded && IS_TOLD && plan_generation != generation ->
       generation = plan_generation; mine = plan_mapped; state = NOP
  :: else
  fi;
  RELEASE(patch_lock)
}

/* PatchedModule.set: isLoaded and the transaction under one hold of the patch lock; the transaction
 * inside a visit. -DNO_VISIT: only the patch lock protects. */
inline set(code) {
#ifndef NO_LOCK
  ACQUIRE(patch_lock, PATCHER);
#endif
  if
  :: plan_loaded && IS_TOLD && plan_generation == generation ->
#if defined(NO_VISIT) || defined(NO_LOCK)    /* the only moment at which they can tell */
       CLAIM(stale_journal, !is_listed || mapped == mine);
#endif
#ifdef NESTED_DLOPEN
       ACQUIRE(load_lock, PATCHER); RELEASE(load_lock);
#endif
#ifndef NO_VISIT
       VISIT(PATCHER);
#else
       BLOCK_FORKS(PATCHER);
#endif
#ifdef STOP
       is_stopped = 1;
#endif
       if
#ifndef NO_VISIT
       :: !is_listed                              /* NPC_MODULE_GONE */
       :: is_listed && !IS_TOLD                   /* NPC_STALE */
       :: is_listed && IS_TOLD && text != state ->    /* NPC_MISMATCH */
            CLAIM(stale_journal, mapped == mine || NOT_LOCKED);
#ifndef ANY_KILL    /* a variant that is to break another claim */
            CLAIM(killed_for_nothing, text == FOREIGN);
#endif
            dies = 1
       :: is_listed && IS_TOLD && text == state ->
            CLAIM(stale_journal, mapped == mine || NOT_LOCKED);
#else
       :: text != state -> dies = (text == FOREIGN)
       :: text == state ->
#endif
            is_half_changed = 1;
            write(mine, code);
            if
            :: state = code
            :: write(mine, state); dies = 1       /* it failed half-way: rolled back */
            fi;
            is_half_changed = 0
       fi;
#ifdef STOP
       is_stopped = 0;
#endif
#ifndef NO_VISIT
       LEAVE
#else
       ALLOW_FORKS
#endif
#ifdef GONE_KILLS
  :: generation > 0 && !plan_loaded -> dies = 1; CLAIM(killed_for_nothing, false)
#endif
  :: else                                         /* PatchError.moduleGone: nothing to do */
  fi;
#ifndef NO_LOCK
  RELEASE(patch_lock)
#endif
}

proctype patcher() {
  byte flips = FLIPS, generation, mine, state;
  bit dies;
  do
  :: flips > 0 && !bug ->
       flips--;
       synchronize();
       if
       :: generation > 0 -> set((state == NOP -> TRACER : NOP))
       :: else
       fi;
       if :: dies -> die() :: else fi
  :: else -> break
  od
}

/* A debugger puts an int3 on the site. */
proctype debugger() {
  if
  :: atomic { GOES_ON && mapped % 2 == 1 -> text = FOREIGN }
  :: true
  fi
}

/* npc_loader_hook_remove */
proctype remover() {
  ACQUIRE(patch_lock, REMOVER);
  atomic { hook = 0; noted_unloads = unloads };
  RELEASE(patch_lock)
}

/* fork: pthread_atfork's handlers. The allocator's was registered after ours, so it runs first. Ours
 * gives up where the holder of the fork lock waits for the loader's lock, which another has. */
proctype forker() {
  bit has_lock;
#ifdef FORK_IN_VISIT    /* in a callback of dl_iterate_phdr */
  ACQUIRE(write_lock, FORKER);
#endif
  ACQUIRE(heap_lock, FORKER);
#ifdef FORK_TAKES_PATCH_LOCK
  ACQUIRE(patch_lock, FORKER);
  RELEASE(patch_lock);
#else
#ifndef NO_FORK_LOCK
  if
  :: atomic { fork_lock == 0 -> fork_lock = FORKER; has_lock = 1 }
#ifndef FORK_WAITS_FOR_GOOD
  :: fork_lock != 0 && !is_visiting && write_lock != 0
#endif
  fi;
#endif
  CLAIM(forked_half_changed, !is_half_changed);
  if :: has_lock -> RELEASE(fork_lock) :: else fi;
#endif
  RELEASE(heap_lock);
#ifdef FORK_IN_VISIT
  RELEASE(write_lock)
#endif
}

init {
  atomic {
    run loader(); run patcher(); run mapper(); run forker();
#ifdef DEBUGGER
    run debugger();
#endif
#ifdef REMOVE_HOOK
    run remover()
#endif
  }
}
