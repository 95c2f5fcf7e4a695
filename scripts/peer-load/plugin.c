// SPDX-License-Identifier: Apache-2.0
//
// A library in two versions: with NEW, another function stands where the old one's was.

#ifdef NEW
__attribute__((noinline)) static int first(int x) { return x * 5; }
__attribute__((noinline)) static int only_in_new(int x) { return first(x) * 3; }
int work(int x) { return only_in_new(x) + 1; }
#else
__attribute__((noinline)) static int only_in_old(int x) { return x * 3; }
int work(int x) { return only_in_old(x) + 1; }
#endif
