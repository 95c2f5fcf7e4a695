/* SPDX-License-Identifier: Apache-2.0
 *
 * The SIGTRAP handler of int3 leads (CSupport/CPatchCore/protocol.c: publish, retract,
 * npc_protocol_trap). A thread that stepped on an int3 may be held up, for as long as it likes,
 * before and between the steps of its handler, while transactions end and others begin.
 *
 * Three places hold an int3 at times: two sites of ours, and one of the program's own, whose traps
 * are the program's.
 *
 * -DOTHER_SITE   the second transaction is of the other site (else of the same one)
 * -DRECENT_ONLY  the handler knows ours by the hull of the last transaction
 * -DNO_COUNT     retract does not wait for handlers
 */
#include "claims.pml"

#define THREADS 2
#define TRANSACTIONS 3
#define PROGRAM 2                   /* its own int3 */
#define NONE 0                      /* of `current` (the code's `active`); else a transaction */

#ifdef OTHER_SITE
#define SITE_OF(t) ((t) % 2)
#else
#define SITE_OF(t) 0
#endif

bit trap_of_ours_is_lost, trap_of_the_programs_is_taken, freed_poke_is_read;

bit int3[3];                        /* memory; a load sees it, and so does a fetch behind a sync */
bit may_see_int3[THREADS * 2];      /* a fetch, until the sync */
byte current, readers, recent;       /* recent: the last transaction's site + 1 */
byte published;                     /* how often */
bit freed[TRANSACTIONS + 1];        /* the pokes are their owner's again */

/* npc_protocol_trap, from the exception on. */
proctype thread(byte me) {
  byte calls = 2, site, seen, before;
  bit claimed;
  do
  :: calls > 0 ->
       calls--;
       if :: site = 0 :: site = 1 :: site = PROGRAM fi;
       if
       :: site == PROGRAM
       :: site != PROGRAM && (int3[site] || may_see_int3[me * 2 + site])
       :: site != PROGRAM && !int3[site] -> goto went_on
       fi;
handler:
       before = published;
       readers++;
       seen = current;
       if
       :: seen != NONE && SITE_OF(seen) == site ->
            CLAIM(freed_poke_is_read, !freed[seen]);    /* emulate */
            claimed = 1
       :: else
       fi;
       readers--;
       if
       :: claimed -> goto went_on
       :: else
       fi;
#ifdef RECENT_ONLY
       if
       :: recent == site + 1 && !int3[site] -> goto went_on     /* run what stands there now */
       :: else
       fi;
#else
       if
       :: !int3[site] -> goto went_on
       :: int3[site] && published != before -> goto handler    /* one of a newer transaction */
       :: int3[site] && published == before
       fi;
#endif
       /* Not claimed: it goes to the program's handler, or kills. */
       CLAIM(trap_of_ours_is_lost, site == PROGRAM);
went_on:
       atomic {
         CLAIM(trap_of_the_programs_is_taken, !(site == PROGRAM && claimed));
         claimed = 0; site = 0; seen = 0; before = 0
       }
  :: else -> break
  od
}

inline sync_cores() { d_step { may_see_int3[0] = int3[0]; may_see_int3[1] = int3[1];
                               may_see_int3[2] = int3[0]; may_see_int3[3] = int3[1] } }

inline put_int3(s, bit_) { d_step { int3[s] = bit_; may_see_int3[s] = 1; may_see_int3[2 + s] = 1 } }

/* npc_protocol_write. `published` is counted behind the store of `current`: who finds an
 * int3, and the count as it was, has looked at the transaction that wrote it. */
proctype patcher() {
  byte t = 1;
  do
  :: t <= TRANSACTIONS ->
       recent = SITE_OF(t) + 1;
       current = t;
       published++;
       put_int3(SITE_OF(t), 1);     /* leads */
       sync_cores();
       put_int3(SITE_OF(t), 0);     /* heads */
       sync_cores();
       current = NONE;
#ifndef NO_COUNT
       readers == 0;
#endif
       freed[t] = 1;
       t++
  :: else -> break
  od
}

init {
  atomic { int3[PROGRAM] = 1; run patcher(); run thread(0); run thread(1) }
}
