/* SPDX-License-Identifier: Apache-2.0
 *
 * What the models have in common. A claim is a bit that is set where the claim is broken, so that
 * spin's own message names it: "assertion violated !(torn_instruction)".
 */

#define CLAIM(broken, holds) if :: (holds) :: else -> broken = 1; assert(!broken) fi

/* A lock: 0 is free, else its holder. */
#define ACQUIRE(lock, who) atomic { lock == 0 -> lock = who }
#define RELEASE(lock) lock = 0

#define FOR_EACH(i, count) i = 0; do :: i < (count) ->
#define NEXT(i) i++ :: else -> i = 0; break od
