// SPDX-License-Identifier: Apache-2.0
// A library that has a plugin as its dependency.
int plugin_enter(int value);
__attribute__((noinline, visibility("default"))) int outer(int value) {
  return plugin_enter(value) + 1;
}
