// SPDX-License-Identifier: Apache-2.0
//
// What unpatched call sites call.

        .text
        .globl  mcount, _mcount, __fentry__
        .type   mcount, @function
        .type   _mcount, @function
        .type   __fentry__, @function
        .p2align 4
mcount:
_mcount:
__fentry__:
        ret
        .size   mcount, . - mcount

        .section .note.GNU-stack, "", @progbits
