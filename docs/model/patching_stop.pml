/* SPDX-License-Identifier: Apache-2.0
 *
 * stop-machine (CSupport/CPatchCore/stop.c, and npc_check_threads of transaction.c). A thread's
 * number is its slot.
 */

#define UNKNOWN 0
#define SIGNALLED 1
#define PARKED 2
#define ASLEEP 3
#define GONE 4

/* Where a thread stands. INSIDE and BEHIND: between the nops of a run, one byte and more than one
 * byte behind the site's address. TRAPPED: in the SIGTRAP handler, which blocks the stop signal. */
#define OUT 0
#define HEAD 1
#define INSIDE 2
#define BEHIND 3
#define TRAPPED 4
#define IS_BETWEEN(i) (at[i] == INSIDE || at[i] == BEHIND)

byte slot[THREADS];
bit stands_inside[THREADS];        /* what a parked thread's own pc says; a sleeper's is outside */
bit woken;                         /* npc_stop_report.woken */
byte epoch, released, entering;

/* add_if_new and the look at a sleeper: one thread of one pass. */
inline look_at(i) {
  atomic {
    if
    :: IS_LISTED(i) && (slot[i] == UNKNOWN || slot[i] == ASLEEP) ->
         if
         :: gone[i] -> slot[i] = GONE
         :: !gone[i] && asleep[i] ->
              changed = changed || slot[i] == UNKNOWN;
              slot[i] = ASLEEP
         :: !gone[i] && !asleep[i] ->
              changed = 1;
              slot[i] = SIGNALLED; pending[i] = epoch    /* signal_thread */
         fi
    :: else
    fi
  }
}

/* wait_for_all: each has parked, has ended, sleeps with the stop signal blocked, or the deadline
 * comes. */
inline wait_for(i) {
  if
  :: slot[i] != SIGNALLED
  :: atomic { slot[i] == SIGNALLED && gone[i] -> slot[i] = GONE }
  :: atomic { slot[i] == SIGNALLED && asleep[i] && BLOCKS_STOP(i) -> slot[i] = ASLEEP }
  :: atomic { slot[i] == SIGNALLED && !gone[i] && timeouts > 0 -> timeouts--; failed = 1 }
#if defined(BLOCKING) || defined(VFORK)    /* who cannot come: a parent in vfork takes no signal */
  :: atomic { slot[i] == SIGNALLED && !gone[i] && (BLOCKS_STOP(i) || in_vfork[i]) -> failed = 1 }
#endif
  fi
}

/* npc_stop_settle: passes until one finds nobody new and nobody awake. */
inline settle() {
  woken = 0;
  do
  :: changed = 0;
     FOR_EACH(i, THREADS) look_at(i); NEXT(i);
     FOR_EACH(i, THREADS) wait_for(i); NEXT(i);
     woken = woken || changed;
     if
     :: failed || !changed -> break
     :: else
     fi
  od;
  changed = 0
}

/* npc_resume_threads */
inline resume_threads() { released = epoch }

/* npc_stop_threads */
inline stop_threads() {
  epoch++;
#ifndef NO_WAIT_FOR_LATE
  entering == 0;
#endif
  d_step { FOR_EACH(i, THREADS) slot[i] = UNKNOWN; NEXT(i) };
  settle();
  if :: failed -> resume_threads() :: else fi
}

/* runs.c: move_thread. What is left for it to do is nops: it goes on behind the run. */
inline move_threads() {
  FOR_EACH(i, THREADS)
    if
#ifndef NO_LOOK_AT_PC
    :: atomic { slot[i] == PARKED && stands_inside[i] ->
#ifdef NO_MOVE
         failed = 1; inside = 1
#else
         at[i] = OUT; stands_inside[i] = 0
#endif
       }
#endif
    :: else
    fi;
  NEXT(i)
}

/* runs.c: move_frame. A sleeper may have woken: then the frame is there, or is not, as it says now. */
inline move_frames() {
  FOR_EACH(i, THREADS)
    if
#ifndef NO_LOOK_AT_FRAMES
    :: atomic { (slot[i] == PARKED || slot[i] == ASLEEP) && in_handler[i] && IS_BETWEEN(i) ->
         at[i] = OUT }
#endif
    :: else
    fi;
  NEXT(i)
}

/* npc_runs_clear, behind the leads: who stands between two nops is moved, until nobody has woken. */
inline clear_runs() {
#ifdef RUN
  do
  :: move_threads();
     move_frames();
#ifdef NO_SECOND_LOOK
     break
#else
     if :: failed -> break :: else fi;
     settle();
     if :: failed || !woken -> break :: else fi
#endif
  od;
#ifndef NO_LAST_LOOK    /* for who has parked by itself, by a signal that was pending in its handler */
  if :: failed :: else -> move_threads() fi;
#endif
  woken = 0
#else
  skip
#endif
}

/* npc_check_threads */
inline check_threads() {
  FOR_EACH(i, THREADS)
    if
#if defined(RUN) && !defined(NO_LOOK_AT_VFORK)
    :: old == A && slot[i] == ASLEEP && in_vfork[i] -> failed = 1; inside = 1
#endif
#ifndef NO_LOOK_AT_MASKS
    :: IS_TRAP && slot[i] == ASLEEP && masked[i] -> failed = 1
#endif
    :: else
    fi;
  NEXT(i)
}
