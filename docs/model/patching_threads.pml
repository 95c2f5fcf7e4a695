/* SPDX-License-Identifier: Apache-2.0
 *
 * The threads that run the text, fall asleep in a system call, wake, take the stop signal
 * (stop.c: park) or step on an int3 (protocol.c: npc_protocol_trap, told in full by trap.pml).
 */

byte at[THREADS], on[THREADS];     /* where, and of which site */
bit asleep[THREADS], gone[THREADS];
bit masked[THREADS];               /* it blocks SIGTRAP */
bit in_vfork[THREADS];
bit in_handler[THREADS];           /* of a signal that came between two nops: it returns there */
byte pending[THREADS];             /* the stop signal's epoch; 0: none is on its way */

#define IS_OUT (!asleep[me] && at[me] == OUT && !in_handler[me])

inline pick(value, cell) {
  if
  :: sees[VIEW(me, cell)] & 1 -> value = 0
  :: sees[VIEW(me, cell)] & 2 -> value = 1
  :: sees[VIEW(me, cell)] & 4 -> value = 2
  fi
}

inline jump_over() {
  CLAIM(torn_instruction, second == LEAD);
  at[me] = OUT
}

inline trap() {
  CLAIM(killed_by_int3, !masked[me]);    /* the kernel kills who blocks a trap that it meets */
  at[me] = TRAPPED
}

inline execute() {
  pick(rest, TAIL_OF(on[me]));
  CLAIM(torn_instruction, second == first && rest == first);
  at[me] = OUT
}

/* The instruction at the site's address. Its first two bytes are seen together, or, where they lie
 * in two fetch blocks, each by itself. */
inline fetch() {
  atomic {
    pick(first, LEAD_OF(on[me]));
#ifdef STRADDLES
    pick(second, LEAD_OF(on[me]));
#else
    second = first;
#endif
    if
    :: first == LEAD && WIDE -> jump_over()
    :: first == LEAD && IS_TRAP -> trap()
    :: first == LEAD && !WIDE && !IS_TRAP -> at[me] = OUT
#ifdef RUN
    :: first == A -> at[me] = INSIDE     /* one nop of several */
#endif
    :: first == B || (first == A && !IS_RUN) -> execute()
    fi;
    first = 0; second = 0; rest = 0
  }
}

/* The next nop of a run. The first one behind the site's address is a wide lead's second byte. */
inline fetch_nop() {
  atomic {
    if
    :: at[me] == INSIDE && WIDE -> pick(rest, LEAD_OF(on[me]))
    :: else -> pick(rest, TAIL_OF(on[me]))
    fi;
    CLAIM(torn_instruction, rest == A);
    if :: at[me] == INSIDE -> at[me] = BEHIND :: else -> at[me] = OUT fi;
    rest = 0
  }
}

/* stop.c: park. A sleeper that is signalled wakes for it. */
inline park() {
  atomic {
    mine = pending[me]; pending[me] = 0; asleep[me] = 0;
    entering++;
    late = (mine != epoch || mine == released)
  };
  if
  :: late -> entering--
  :: else ->
       atomic {
         stands_inside[me] = IS_BETWEEN(me) && !in_handler[me];
         slot[me] = PARKED;
         entering--
       };
       d_step { released >= mine;    /* and the serialising instruction: */
         FOR_EACH(rest, CELLS) sees[VIEW(me, rest)] = 1 << text[rest]; NEXT(rest) }
  fi;
  atomic { mine = 0; late = 0 }
}

proctype thread(byte me) {
  byte calls = CALLS, naps = NAPS, first, second, rest, mine;
  bit late;
#if defined(PLAIN) && !defined(WHILE_RUNNING)
  finished == TRANSACTIONS;    /* the module's first instruction waits for the loader's hook */
#endif
#ifdef VFORK
  if :: me == 1 -> in_vfork[0] :: else fi;
#endif
  do
  :: atomic { IS_OUT && calls > 0 -> calls--; at[me] = HEAD;
              if :: on[me] = 0 :: SITES > 1 -> on[me] = SITES - 1 fi }
  :: !asleep[me] && at[me] == HEAD -> fetch()
  :: at[me] == TRAPPED -> at[me] = OUT
#ifdef RUN
  :: !asleep[me] && !in_handler[me] && IS_BETWEEN(me) -> fetch_nop()
#endif
#ifdef VFORK    /* the parent sleeps until its child is gone */
  :: atomic { me == 0 && IS_OUT && naps > 0 -> naps--; asleep[me] = 1; in_vfork[me] = 1 }
  :: atomic { in_vfork[me] && gone[1] -> in_vfork[me] = 0; asleep[me] = 0 }
#else
  :: atomic { IS_OUT && naps > 0 && calls > 0 -> naps--; asleep[me] = 1 }
  :: asleep[me] -> asleep[me] = 0
#endif
#ifdef HANDLERS    /* they may sleep */
  :: IS_BETWEEN(me) && !in_handler[me] -> in_handler[me] = 1
  :: in_handler[me] && !asleep[me] -> in_handler[me] = 0
  :: atomic { in_handler[me] && !asleep[me] && naps > 0 -> naps--; asleep[me] = 1 }
#endif
#ifdef MASKS_LATE
  :: IS_OUT && !masked[me] && calls > 0 -> masked[me] = 1
#endif
  :: pending[me] > 0 && at[me] != TRAPPED && !in_vfork[me] && !BLOCKS_STOP(me) -> park()
#ifdef VFORK
  :: atomic { IS_OUT && calls == 0 && (me == 1 || naps == 0) -> gone[me] = 1; break }
#else
  :: atomic { IS_OUT && calls == 0 -> gone[me] = 1; break }
#endif
  od
}
