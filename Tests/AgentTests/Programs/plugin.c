// SPDX-License-Identifier: Apache-2.0
// A plugin whose constructor is traced too. NAME distinguishes two builds.
#ifndef NAME
#define NAME plugin_enter
#endif
#define KEEP __attribute__((noinline, noclone, visibility("default")))
static volatile int one = 1;

KEEP int plugin_leaf(int value) { return value + one; }
__attribute__((constructor)) KEEP void plugin_begin(void) { plugin_leaf(1); }
__attribute__((destructor)) KEEP void plugin_end(void) { plugin_leaf(2); }
KEEP int NAME(int value) { return plugin_leaf(value) + plugin_leaf(value); }
