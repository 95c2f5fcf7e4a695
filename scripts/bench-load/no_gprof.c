// SPDX-License-Identifier: Apache-2.0
//
// A shared object to preload when the instructions of a -pg program are counted: an mcount that
// returns at once and no profiling timer, whose signal ends a program under valgrind.

__asm__(
    ".text\n"
    ".globl mcount, _mcount, __fentry__\n"
    ".type mcount, @function\n.type _mcount, @function\n.type __fentry__, @function\n"
    "mcount: _mcount: __fentry__: ret\n");

void __monstartup(unsigned long low, unsigned long high);
void _mcleanup(void);

void __monstartup(unsigned long low, unsigned long high) { (void)low, (void)high; }
void _mcleanup(void) {}
