/* SPDX-License-Identifier: Apache-2.0
 *
 * The 2.6.27 engine and the loader (CSupport/CUnloadLab: daemon_*.c): a hash that finds call sites
 * as they are called, a daemon that makes them nops, a tracer, and a module that goes away.
 *
 * -DSHIPPED   nothing leaves the hash when a module goes
 * -DVERIFIED  the same, but each site is looked at before the compare-and-swap
 * -DZAPPED    with the zap of daemon_release.c, behind the loader's hook
 *
 * Two call sites: SITE in the module, CORE in the program, which stays. There are
 * two records: a call that finds both taken is not recorded, as in the code. README.md has the
 * other -D.
 */
#include "claims.pml"

#ifndef LOADS
#define LOADS 1
#endif
#ifndef CYCLES
#define CYCLES 2         /* of the daemon */
#endif
#ifndef TRACES
#define TRACES 1         /* a tracer is started, and stopped */
#endif

#define SITE 1
#define CORE 2
#define RECORDS 2

/* Text, as the engine's patch primitive tells it apart. */
#define CALL 0           /* call mcount */
#define NOP 1
#define TRACER 2         /* call of the tracer */
#define OTHER 3          /* other bytes */

/* Who has the address: the module, or one who mapped something there after it went. */
#define MODULE 1
#define FOREIGN 2
#define DEVICE 3

/* -DOCCUPANT=n: that alone may land there. */
#define OTHER_BYTES 4
#define SAME_BYTES 5

#define LOADER 1
#define CALLER 2
#define DAEMON 3
#define TRACER_SWITCH 4

bit write_after_the_end, device_is_written, foreign_text_is_overwritten, chain_is_cut,
    text_is_not_what_is_believed;

byte text[3], owner;     /* by site */
byte generation;         /* of SITE's memory; ends with the mapping */
bit mapped;
bit in_use;              /* a thread is in the module: dlclose is the program's affair */
bit closing;

byte patch_lock, record_lock;
bit is_stopped;          /* npc_stop_threads: caller and loader stand where they are */
bit tracing, triggered;

byte ip[RECORDS], born[RECORDS];    /* born: the generation that it was recorded in */
bit linked[RECORDS], converted[RECORDS], armed[RECORDS], marked[RECORDS], is_free[RECORDS];

#define GOES_ON !is_stopped
#define TAKE(lock, who) atomic { GOES_ON && lock == 0 -> lock = who }
#define HAS(r, where) (linked[r] && ip[r] == (where))
#define FIND(where) (HAS(0, where) || HAS(1, where))

/* --- mcount: nul_mcount_hit, nul_record_ip --------------------------------------------------- */

inline record(where) {
  if
  :: atomic { GOES_ON && FIND(where) }                  /* without the lock */
  :: atomic { GOES_ON && !FIND(where) };
     TAKE(record_lock, CALLER);
     if
     :: atomic { GOES_ON && FIND(where) }
     :: atomic { GOES_ON && !FIND(where) ->
          if
          :: is_free[0] -> r = 0                        /* take */
          :: !is_free[0] && is_free[1] -> r = 1
          :: !is_free[0] && !is_free[1] -> r = RECORDS  /* nul.dropped */
          fi;
          if
          :: r < RECORDS ->
               is_free[r] = 0; converted[r] = 0; armed[r] = 0; marked[r] = 0;
               CLAIM(chain_is_cut, !linked[r]);
               ip[r] = where; born[r] = generation; linked[r] = 1;
               triggered = 1;
               printf("caller: mcount records site %d, generation %d, as record %d\n", where,
                      generation, r)
          :: else
          fi;
          r = 0 }
     fi;
     atomic { GOES_ON -> RELEASE(record_lock) }
  fi
}

proctype caller() {
  byte calls = 2, r;
  do
  :: atomic { GOES_ON && calls > 0 && mapped && owner == MODULE && !closing ->
       calls--; in_use = 1 };
     if
     :: atomic { GOES_ON && text[SITE] == CALL }; record(SITE)
     :: atomic { GOES_ON && text[SITE] != CALL }        /* a nop, or the tracer */
     fi;
     atomic { GOES_ON -> in_use = 0 }
  :: atomic { GOES_ON && calls > 0 && text[CORE] == CALL -> calls-- }; record(CORE)
  :: break
  od
}

/* --- the patch primitive: nul_patch_site, nul_patch_code ------------------------------------- */

inline compare_and_swap(from, to) {
  atomic {
    printf("engine: lock cmpxchg at site %d for record %d of generation %d, expects %d\n",
           ip[r], r, born[r], from);
    if
    :: ip[r] == SITE && !mapped -> fails = 1            /* a fault, which has its fix-up */
    :: else ->
#ifdef VERIFIED
         if
         :: text[ip[r]] != from -> fails = (text[ip[r]] != to)
         :: text[ip[r]] == from ->
#endif
         if
         :: ip[r] == SITE && generation != born[r] ->   /* a locked write cycle in any case */
              CLAIM(device_is_written, owner != DEVICE);
              CLAIM(foreign_text_is_overwritten, text[SITE] != from);
              CLAIM(write_after_the_end, false)
         :: else
         fi;
         if
         :: text[ip[r]] == from -> text[ip[r]] = to
         :: else -> fails = (text[ip[r]] != to)
         fi
#ifdef VERIFIED
         fi
#endif
    fi
  }
}

/* nul_unlink, nul_recycle */
inline unlink(r) { linked[r] = 0 }
inline recycle(r) { d_step { marked[r] = 1; ip[r] = 0; is_free[r] = 1 } }

/* --- everybody is stopped: daemon_convert.c -------------------------------------------------- */

#ifdef LOCK_BEHIND_STOP
#define STOP_ALL(who) is_stopped = 1; ACQUIRE(record_lock, who)
#else
#define STOP_ALL(who) ACQUIRE(record_lock, who); is_stopped = 1
#endif
#define RESUME_ALL is_stopped = 0; RELEASE(record_lock)

/* convert_bucket, convert_record */
inline convert_all() {
  triggered = 0;
  FOR_EACH(r, RECORDS)
    if
    :: linked[r] && !converted[r] && ip[r] != 0 ->
         compare_and_swap(CALL, NOP);
         if
         :: fails -> fails = 0; unlink(r); recycle(r)
         :: else -> converted[r] = 1
         fi
    :: else
    fi;
  NEXT(r);
  check_belief()
}

/* A site that its record calls a nop is one, as long as it is there. */
inline check_belief() {
  d_step {
    FOR_EACH(r, RECORDS)
      believed = believed && !(linked[r] && converted[r] && !armed[r] && ip[r] == SITE &&
                               mapped && owner == MODULE && text[SITE] == CALL);
    NEXT(r)
  }
  CLAIM(text_is_not_what_is_believed, believed)
}

/* replace_record, over all pages: marked and free ones are passed by. */
inline replace_all(on) {
  FOR_EACH(r, RECORDS)
    if
    :: !is_free[r] && !marked[r] && armed[r] != on ->
         armed[r] = on;
         if
         :: on -> compare_and_swap(NOP, TRACER)
         :: else -> compare_and_swap(TRACER, NOP)
         fi;
         if
         :: fails -> fails = 0; unlink(r); recycle(r)
         :: else
         fi
    :: else
    fi;
  NEXT(r)
}

/* ftraced: cycle */
proctype daemon() {
  byte cycles = CYCLES, r;
  bit fails, believed = 1;
  do
  :: cycles > 0 ->
       cycles--;
       ACQUIRE(patch_lock, DAEMON);
       if
       :: triggered && !tracing -> STOP_ALL(DAEMON); convert_all(); RESUME_ALL
       :: else
       fi;
       RELEASE(patch_lock)
  :: break
  od
}

/* switch_tracer: nul_tracer_start, nul_tracer_stop */
proctype tracer() {
  byte switches = 2 * TRACES, r;
  bit fails, believed = 1;
  do
  :: switches > 0 ->
       switches--;
       ACQUIRE(patch_lock, TRACER_SWITCH);
       tracing = !tracing;
       STOP_ALL(TRACER_SWITCH);
       if
       :: tracing -> convert_all(); replace_all(1)
       :: else -> replace_all(0)
       fi;
       RESUME_ALL;
       RELEASE(patch_lock)
  :: break
  od
}

/* --- the loader, and the zap: daemon_release.c ----------------------------------------------- */

/* nul_release. -DZAP_FREES_FIRST: as the first backport had it, whose walk then finds no ip. */
inline release_site() {
  TAKE(record_lock, LOADER);
#ifdef ZAP_FREES_FIRST
  FOR_EACH(r, RECORDS) if :: !is_free[r] && ip[r] == SITE -> recycle(r) :: else fi; NEXT(r);
#endif
  FOR_EACH(r, RECORDS)
    if
    :: HAS(r, SITE) -> unlink(r); marked[r] = 1; in_limbo[r] = 1
    :: else
    fi;
  NEXT(r);
  atomic { GOES_ON -> RELEASE(record_lock) };
  /* nul_readers_wait: who probes without the lock probes again under it, so nothing is to wait for
   * in this model but time. */
  TAKE(record_lock, LOADER);
  FOR_EACH(r, RECORDS)
    if :: in_limbo[r] -> in_limbo[r] = 0; recycle(r) :: else fi;
  NEXT(r);
  atomic { GOES_ON -> RELEASE(record_lock) }
}

inline map_module() {
  if
  :: atomic { GOES_ON && !mapped ->
       generation++; mapped = 1; owner = MODULE; text[SITE] = CALL; closing = 0;
       printf("loader: maps the module, generation %d\n", generation) }
  :: atomic { GOES_ON && mapped -> break }    /* somebody has the address: it lands elsewhere */
  fi
}

/* -DWHEN=n: the module goes when its record is pending (1), converted (2) or armed (3). */
#ifdef WHEN
#define IS_DUE(r) (HAS(r, SITE) && converted[r] == (WHEN > 1) && armed[r] == (WHEN > 2))
#define MAY_CLOSE (IS_DUE(0) || IS_DUE(1))
#else
#define MAY_CLOSE true
#endif

inline dl_close() {
#if defined(ZAPPED) && !defined(NO_HOLD)
  TAKE(patch_lock, LOADER);            /* npc_loader_announced at RT_DELETE */
#endif
  atomic { GOES_ON -> mapped = 0; owner = 0;
           printf("loader: unmaps the module, generation %d is over\n", generation) };
#ifdef ZAPPED
#ifdef ZAP_LATE
  atomic { GOES_ON -> RELEASE(patch_lock) };
#endif
#if defined(NO_HOLD) || defined(ZAP_LATE)
  TAKE(patch_lock, LOADER);
#endif
  release_site();                      /* nul_loader_event at RT_CONSISTENT */
  atomic { GOES_ON -> RELEASE(patch_lock) }
#endif
}

proctype loader() {
  byte loads = LOADS, r;
  bit in_limbo[RECORDS];
  do
  :: loads > 0 ->
       loads--;
       map_module();
       if
       :: atomic { GOES_ON && !in_use && MAY_CLOSE -> closing = 1 }; dl_close()
       :: GOES_ON && loads == 0 -> break      /* it stays */
       :: timeout -> break                    /* the record never gets there */
       fi
  :: loads == 0 -> break
  od
}

/* What lands at the free address. -DOCCUPANT: one of these alone. */
proctype mapper() {
  do
  :: atomic { GOES_ON && !mapped && generation > 0 ->
       generation++; mapped = 1; owner = FOREIGN;
       if
#if !defined(OCCUPANT) || OCCUPANT == DEVICE
       :: owner = DEVICE; text[SITE] = OTHER
#endif
#if !defined(OCCUPANT) || OCCUPANT == OTHER_BYTES
       :: text[SITE] = OTHER
#endif
#if !defined(OCCUPANT) || OCCUPANT == SAME_BYTES
       :: text[SITE] = CALL
       :: text[SITE] = NOP
       :: text[SITE] = TRACER
#endif
       fi;
       printf("mapper: maps text or a device (owner %d) there, generation %d\n", owner,
              generation) };
     if
     :: atomic { GOES_ON && LOADS > 1 -> mapped = 0; owner = 0 }
     :: true
     fi;
     break
  :: break
  od
}

init { atomic { is_free[0] = 1; is_free[1] = 1; text[CORE] = CALL;
                run loader(); run caller(); run daemon();
#if TRACES > 0
                run tracer();
#endif
#if LOADS == 1 || !defined(AGAIN)
                run mapper()
#endif
} }
