// SPDX-License-Identifier: Apache-2.0
//
// A program linked with -pg brings gcrt1.o, whose start-up calls __monstartup and whose end calls
// _mcleanup, which writes gmon.out. Ours do nothing: no profiling timer, no file in the user's
// folder.

#define EXPORT __attribute__((visibility("default")))

EXPORT void __monstartup(unsigned long low, unsigned long high);
EXPORT void monstartup(unsigned long low, unsigned long high);
EXPORT void _mcleanup(void);

void __monstartup(unsigned long low, unsigned long high) { (void)low, (void)high; }
void monstartup(unsigned long low, unsigned long high) { (void)low, (void)high; }
void _mcleanup(void) {}
