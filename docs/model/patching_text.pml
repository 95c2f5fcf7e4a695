/* SPDX-License-Identifier: Apache-2.0
 *
 * The text, what CPUs see of it, and how it is written (CSupport/CPatchCore: protocol.c, text.c).
 *
 * A site is two cells: its lead (the first one or two bytes) and its tail (what stands behind).
 * A cell holds the bytes of code A, of code B, or something between:
 *
 *   A        what the file has: one instruction, or with -DRUN a run of single-byte nops
 *   B        another instruction
 *   LEAD     in a lead: `eb xx` (WIDE 1: two bytes), or one byte (WIDE 0): int3, or with -DTEST a9,
 *            which takes the tail for its operand, whatever it is
 *   MIXED    in a tail: it is written byte by byte, some are of A and some of B
 *
 * A thread's CPU may see, for each cell by itself, any value that the cell has had since the CPU's
 * last core sync. What it may see only grows between two syncs, and a sync falls between two
 * instructions; so one step that picks the lead and the tail covers every fetch that takes first
 * the one and then, later, the other.
 */

#define A 0
#define B 1
#define LEAD 2
#define MIXED 2

#define CELLS (2 * SITES)
#define LEAD_OF(s) (2 * (s))
#define TAIL_OF(s) (2 * (s) + 1)
#define VIEW(thread, cell) ((thread) * CELLS + (cell))

byte text[CELLS];              /* memory */
byte sees[THREADS * CELLS];    /* sets of values: bit v for value v */
bit unwritable[CELLS];         /* its page's protection was changed, or it is gone */
byte sync_failures = SYNC_FAILURES;

inline store(cell, value) {
  d_step {
    text[cell] = value;
    FOR_EACH(w, THREADS) sees[VIEW(w, cell)] = sees[VIEW(w, cell)] | (1 << value); NEXT(w)
  }
}

/* stop.c: npc_sync_cores. The CPUs sync one by one, but nothing is written until the last one has:
 * those that synced early see less than they may here. */
inline sync_cores() {
  if
#ifndef NO_SYNC
  :: d_step { FOR_EACH(w, THREADS * CELLS) sees[w] = 1 << text[w % CELLS]; NEXT(w) }
#else
  :: true
#endif
  :: sync_failures > 0 && SYNC_MAY_FAIL ->
       failed = 1; unsynced = 1;
#ifndef SYNC_FAILS_FOR_GOOD
       sync_failures--
#endif
  fi
}

/* protocol.c: write_step. `code` is the one whose bytes it writes. */
inline write_lead(s, code) {
#if !defined(PLAIN) && !defined(NO_LEADS)
  if
  :: !unwritable[LEAD_OF(s)] -> store(LEAD_OF(s), code)
  :: unwritable[LEAD_OF(s)] -> failed = 1
  fi
#else
  skip    /* npc_lead_length is 0: the tail is all there is */
#endif
}

inline write_tail(s, code) {
  if
  :: !unwritable[TAIL_OF(s)] ->
#if defined(PLAIN) || defined(NO_LEADS)
       store(LEAD_OF(s), code);
#endif
       if
       :: text[TAIL_OF(s)] == code    /* the bytes that stand there, once more */
       :: else ->
            store(TAIL_OF(s), MIXED);
            if
            :: !unwritable[TAIL_OF(s)] -> store(TAIL_OF(s), code)
            :: unwritable[TAIL_OF(s)] -> failed = 1
            fi
       fi
  :: unwritable[TAIL_OF(s)] -> failed = 1
  fi
}

/* Somebody else takes the permission to write from a page, or unmaps it: at any moment, for good.
 * A site's two cells are in one page, or with -DTWO_PAGES in two. */
proctype trouble() {
  byte left = UNWRITABLE, s;
  do
  :: left > 0 ->
       atomic {
         left--;
         if :: s = 0 :: SITES > 1 -> s = SITES - 1 fi;
#ifdef TWO_PAGES
         if :: unwritable[LEAD_OF(s)] = 1 :: unwritable[TAIL_OF(s)] = 1 fi
#else
         unwritable[LEAD_OF(s)] = 1; unwritable[TAIL_OF(s)] = 1
#endif
       }
  :: break
  od
}
