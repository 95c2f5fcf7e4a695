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

byte slot[THREADS];
bit stands_inside[THREADS];        /* what a parked thread's pc says; a sleeper's is outside */
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

/* wait_for_all: each has parked, has ended, sleeps and is deaf, or the deadline comes. */
inline wait_for(i) {
  if
  :: slot[i] != SIGNALLED
  :: atomic { slot[i] == SIGNALLED && gone[i] -> slot[i] = GONE }
  :: atomic { slot[i] == SIGNALLED && asleep[i] && IS_DEAF(i) -> slot[i] = ASLEEP }
  :: atomic { slot[i] == SIGNALLED && !gone[i] && timeouts > 0 -> timeouts--; failed = 1 }
#if defined(DEAF) || defined(VFORK)    /* who cannot come: a parent in vfork takes no signal */
  :: atomic { slot[i] == SIGNALLED && !gone[i] && (IS_DEAF(i) || in_vfork[i]) -> failed = 1 }
#endif
  fi
}

/* npc_stop_settle: passes until one finds nobody new and nobody awake. */
inline settle() {
  do
  :: changed = 0;
     FOR_EACH(i, THREADS) look_at(i); NEXT(i);
     FOR_EACH(i, THREADS) wait_for(i); NEXT(i);
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

/* npc_check_threads */
inline check_threads() {
  FOR_EACH(i, THREADS)
    if
#if defined(RUN) && !defined(NO_LOOK_AT_PC)
    :: old == A && slot[i] == PARKED && stands_inside[i] -> failed = 1; inside = 1
#endif
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
