// SPDX-License-Identifier: Apache-2.0
//
// A program linked with -pg contains gcrt1.o. Its start-up code calls __monstartup, and its exit
// code calls _mcleanup, which writes gmon.out. The agent's versions do nothing: no profiling timer
// runs, and no file appears in the user's folder.

#define EXPORT __attribute__((visibility("default")))

EXPORT void __monstartup(unsigned long low, unsigned long high);
EXPORT void monstartup(unsigned long low, unsigned long high);
EXPORT void _mcleanup(void);

void __monstartup(unsigned long low, unsigned long high) { (void)low, (void)high; }
void monstartup(unsigned long low, unsigned long high) { (void)low, (void)high; }
void _mcleanup(void) {}
