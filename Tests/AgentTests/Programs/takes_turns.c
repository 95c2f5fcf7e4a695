// SPDX-License-Identifier: Apache-2.0
// A library that the test copies. In each copy the test overwrites the name of the function and the
// build-id. The name `enter`, which dlsym finds, stays.
#define KEEP __attribute__((noinline, noclone))
#define OURS __attribute__((no_instrument_function, patchable_function_entry(0)))
static volatile int one = 1;

KEEP __attribute__((visibility("hidden"))) int turn_0000(int value) { return value + one; }
OURS KEEP int enter(int value) { return turn_0000(value); }
