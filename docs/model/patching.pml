/* SPDX-License-Identifier: Apache-2.0
 *
 * A transaction (CSupport/CPatchCore: transaction.c, protocol.c) against threads that run the text
 * it writes. Two transactions: from A to B, and back, or once more what failed.
 *
 * -DGUARD  NPC_PROTOCOL_JUMP_GUARD      -DTRAP   NPC_PROTOCOL_BREAKPOINT
 * -DSTOP   NPC_PROTOCOL_STOP_MACHINE    -DPLAIN  NPC_PROTOCOL_NONE
 * -DWIDE=n is npc_lead_for's word: 1 for a jump, 0 for one byte: an int3, or with -DTEST a9.
 *
 * README.md has every other -D: what befalls the transaction, and what is taken out of it.
 */
#include "claims.pml"

#ifndef THREADS
#define THREADS 2
#endif
#ifndef SITES
#define SITES 1
#endif
#ifndef CALLS
#define CALLS 2          /* of each thread */
#endif
#ifndef NAPS
#ifdef STOP
#define NAPS 1
#else
#define NAPS 0           /* who sleeps is nobody to the other protocols */
#endif
#endif
#ifndef PATCHERS
#define PATCHERS 1
#endif
#ifndef TRANSACTIONS
#define TRANSACTIONS 2   /* of each patcher */
#endif
#ifndef UNWRITABLE
#define UNWRITABLE 0     /* pages that stop being writable */
#endif
#ifndef SYNC_FAILURES
#define SYNC_FAILURES 0  /* calls of membarrier that fail */
#endif
#ifndef TIMEOUTS
#define TIMEOUTS 0       /* stops that are given up */
#endif
#ifdef BLOCKING
#define BLOCKS_STOP(i) ((i) == 1)      /* it blocks the stop signal */
#elif defined(BLOCKING_HANDLERS)
#define BLOCKS_STOP(i) in_handler[i]   /* until its handler returns */
#else
#define BLOCKS_STOP(i) 0
#endif
#ifdef VFORK
#define IS_LISTED(i) ((i) != 1)    /* thread 1 is thread 0's vfork child */
#else
#define IS_LISTED(i) 1
#endif
#ifdef RUN
#define IS_RUN 1
#else
#define IS_RUN 0
#endif
#ifdef TEST
#define IS_TRAP 0
#else
#define IS_TRAP (1 - WIDE)
#endif
#define ATTEMPTS 2       /* write_stopped makes as many as there is time for */
#if UNWRITABLE || SYNC_FAILURES || TIMEOUTS || defined(SURPRISE) || defined(BLOCKING) || \
    defined(VFORK) || defined(MASKED) || defined(MASKS_LATE)
#define HAS_TROUBLE true
#else
#define HAS_TROUBLE false
#endif
#ifdef SYNC_FAILS_UNDER_INT3
#define SYNC_MAY_FAIL true
#else
#define SYNC_MAY_FAIL (!IS_TRAP || !rolling_back)
#endif

bit torn_instruction, killed_by_int3, text_is_not_what_is_believed, old_bytes_are_lost, int3_stays;
bit refused_for_nothing;

byte patch_lock, finished;
byte believed;           /* PatchedModule's journal */
byte timeouts = TIMEOUTS;

#include "patching_text.pml"
#include "patching_stop.pml"
#include "patching_threads.pml"

/* --- protocol.c ------------------------------------------------------------------------------ */

/* Behind the leads nobody new gets in; who woke since is stopped now. */
inline settle_behind_leads() {
#if defined(STOP) && !defined(NO_STOP) && !defined(NO_SETTLE)
  settle();
#ifndef MOVE_BEFORE_LEADS
  if :: !failed && old == A -> clear_runs() :: else fi;
#endif
  if :: failed :: else -> check_threads() fi
#else
  skip
#endif
}

/* write_batch: leads, tails, heads, a core sync behind each. */
inline write_batch(code) {
  FOR_EACH(s, SITES) if :: failed :: else -> touched = s + 1; write_lead(s, LEAD) fi; NEXT(s);
  if :: failed :: else -> sync_cores() fi;
  if :: failed :: else -> settle_behind_leads() fi;
  FOR_EACH(s, SITES) if :: failed :: else -> touched = SITES; write_tail(s, code) fi; NEXT(s);
  if :: failed :: else -> sync_cores() fi;
  FOR_EACH(s, SITES) if :: failed :: else -> write_lead(s, code) fi; NEXT(s);
  if :: failed :: else -> sync_cores() fi
}

/* roll_back, by the same steps; a write that fails is passed over. That the bytes are ours
 * (is_ours) is so here: nobody else writes. A tail is written behind a lead alone, a head before
 * old bytes alone, and not under a thread in a new run of nops. Where a core sync failed nothing more
 * is written, but for the head before a tail that was never touched, and over an int3, which nobody
 * would claim any more. Each rule can be taken out. */
#ifdef ROLL_BACK_PASSES_LEADS_OVER
#define MAY_WRITE_TAIL(s) (s < touched)
#define MAY_WRITE_HEAD(s, code) (s < touched)
#else
#define MAY_WRITE_TAIL(s) (s < touched && text[LEAD_OF(s)] == LEAD)
#define MAY_WRITE_HEAD(s, code) (s < touched && text[TAIL_OF(s)] == code)
#endif
#if defined(ROLL_BACK_PASSES_SYNCS_OVER)
#define SYNCED true
#elif defined(INT3_STAYS)
#define SYNCED !unsynced
#else
#define SYNCED (IS_TRAP || !unsynced)
#endif

/* may_stand_in_new_run: a thread that woke when the new nops stood there is stopped, and moved. */
inline look_into_new_run(code) {
#if defined(STOP) && defined(RUN) && !defined(ROLL_BACK_OVER_NEW_NOPS)
  if
  :: code == B ->
       failed = 0;
       settle();
       if :: failed :: else -> clear_runs() fi;
       kept = failed;
       FOR_EACH(i, THREADS) kept = kept || (slot[i] == ASLEEP && in_vfork[i]); NEXT(i);
       failed = 1
  :: else
  fi
#else
  skip
#endif
}
#define IS_KEPT(s, code) (kept && s < touched && text[TAIL_OF(s)] == 1 - code)
#ifdef HEADS_ARE_PUT_BACK_UNSYNCED
#define IS_UNTOUCHED true
#else
#define IS_UNTOUCHED !wrote_tails
#endif

inline roll_back(code) {
  unsynced = 0; rolling_back = 1; wrote_tails = 0;
  FOR_EACH(s, SITES) if :: s < touched -> write_lead(s, LEAD) :: else fi; NEXT(s);
  sync_cores();
  look_into_new_run(code);
  FOR_EACH(s, SITES)
    if :: SYNCED && !IS_KEPT(s, code) && MAY_WRITE_TAIL(s) -> write_tail(s, code) :: else fi;
  NEXT(s);
  wrote_tails = SYNCED;
  sync_cores();
  FOR_EACH(s, SITES)
    if    /* kept: the new code stays, all of it */
    :: (IS_KEPT(s, code) -> SYNCED : (SYNCED || IS_UNTOUCHED) && MAY_WRITE_HEAD(s, code)) ->
         write_lead(s, (IS_KEPT(s, code) -> 1 - code : code))
    :: else
    fi;
  NEXT(s);
  sync_cores();
  rolling_back = 0
}

/* npc_protocol_write. What is read back may be a surprise. */
inline protocol_write() {
  touched = 0;
  write_batch(1 - old);
#ifdef SURPRISE
  if :: failed :: else -> if :: failed = 1 :: true fi fi;
#endif
#ifndef NO_ROLL_BACK
  if :: failed -> roll_back(old) :: else fi;
#endif
  touched = 0
}

/* --- transaction.c --------------------------------------------------------------------------- */

inline look_at_sites(code) {
  d_step {
    same = 1; put_back = 1;
    FOR_EACH(s, SITES)
      same = same && text[LEAD_OF(s)] == code && text[TAIL_OF(s)] == code;
      put_back = put_back && (unwritable[LEAD_OF(s)] || unwritable[TAIL_OF(s)] ||
                              (text[LEAD_OF(s)] == code && text[TAIL_OF(s)] == code));
    NEXT(s)
  }
}

/* write_stopped. npc_retry_wait: once more if a vfork child may stand inside and all was put back,
 * after a pause outside of the lock. */
inline write_stopped() {
  attempt = 0;
  do
  :: attempt++; failed = 0; unsynced = 0; inside = 0; kept = 0;
     stop_threads();
     if
     :: failed
     :: else ->
          check_threads();
#ifdef MOVE_BEFORE_LEADS
          if :: old == A -> move_threads(); move_frames() :: else fi;
#endif
          if :: failed :: else -> protocol_write() fi;
          resume_threads()
     fi;
     FOR_EACH(s, SITES)
       if :: text[LEAD_OF(s)] != old || text[TAIL_OF(s)] != old -> inside = 0 :: else fi;
     NEXT(s);
     if
     :: inside && attempt < ATTEMPTS ->
#ifndef NO_LOCK
          RELEASE(patch_lock);
          ACQUIRE(patch_lock, me + 1);
#endif
          look_at_sites(old);
          if :: !same -> break :: else fi
     :: else -> break
     fi
  od;
  atomic { attempt = 0; inside = 0 }
}

/* write_running. With int3s it looks at the threads' masks first (may_trap). */
inline write_running() {
#if defined(TRAP) && !defined(NO_LOOK_AT_MASKS)
  FOR_EACH(i, THREADS) if :: masked[i] && !gone[i] -> failed = 1 :: else fi; NEXT(i);
#endif
  if :: failed :: else -> protocol_write() fi
}

/* PatchedModule.set: npc_transaction_execute, and the note in the journal. */
proctype patcher(byte me) {
  byte round, s, i, w, touched, old, attempt;
  bit failed, unsynced, changed, same, put_back, inside, rolling_back, kept, wrote_tails;
  do
  :: round < TRANSACTIONS ->
       round++;
#ifndef NO_LOCK
       ACQUIRE(patch_lock, me + 1);
#endif
       atomic { old = believed; failed = 0; unsynced = 0 };
       look_at_sites(old);    /* verify_all */
       if
       :: !same    /* a mismatch, which a page lost by an earlier transaction may leave */
       :: else ->
#if defined(STOP) && !defined(NO_STOP)
            write_stopped();
#else
            write_running();
#endif
            if
            :: !failed ->
                 believed = 1 - old;
                 look_at_sites(believed);
                 CLAIM(text_is_not_what_is_believed, same)
            :: else ->
                 CLAIM(refused_for_nothing, HAS_TROUBLE);
                 look_at_sites(old);
                 /* result.left_changed: only a page that went, a core sync that did not come, or a
                  * thread in the new run of nops */
                 CLAIM(old_bytes_are_lost, put_back || unsynced || kept)
            fi;
            FOR_EACH(s, SITES)
              CLAIM(int3_stays, !IS_TRAP || PATCHERS > 1 || unwritable[LEAD_OF(s)] ||
                                text[LEAD_OF(s)] != LEAD);
            NEXT(s)
       fi;
#ifndef NO_LOCK
       RELEASE(patch_lock);
#endif
       finished++
  :: else -> break
  od
}

init {
  byte i;
  atomic {
    FOR_EACH(i, THREADS * CELLS) sees[i] = 1 << A; NEXT(i);
#ifdef FROM_B
    believed = B;
    FOR_EACH(i, THREADS * CELLS) sees[i] = 1 << B; NEXT(i);
    FOR_EACH(i, CELLS) text[i] = B; NEXT(i);
#endif
#ifdef MASKED
    masked[0] = 1;
#endif
    FOR_EACH(i, THREADS) run thread(i); NEXT(i);
    FOR_EACH(i, PATCHERS) run patcher(i); NEXT(i);
    if :: UNWRITABLE > 0 -> run trouble() :: else fi
  }
}
